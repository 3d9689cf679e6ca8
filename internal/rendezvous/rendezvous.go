// Package rendezvous has the hashes by which a key chooses one of several candidates: the one whose
// hash, mixed with the key's, is the largest. They are the same in every process.
package rendezvous

// Hash is FNV-1a.
func Hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

// Mix makes each bit of x affect all bits of the result (the finaliser of splitmix64).
func Mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

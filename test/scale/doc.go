// Package scale has many virtual actors, and many nodes, in one process. The roads, the registry and the claims
// are in memory, and the time is fake: so it counts messages and processor time, and how long nodes take to
// notice something, but not how fast a network is. It consists of tests only.
//
//	go test ./test/scale -v                                                 as the tests run by default
//	go test ./test/scale -v -run Activations -scale.actors 333333           a million actors over three nodes
//	go test ./test/scale -v -run Churn -scale.nodes 1000 -timeout 10m       a large cluster
package scale

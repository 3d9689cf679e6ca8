package main

import (
	"fmt"
	"io"
	"os"
	"time"
)

// indexAlone does the whole job in this process, file by file. The flag -check compares with that.
func indexAlone(folder *os.Root, files []string) *Index {
	x := newIndex()
	for _, name := range files {
		x.Add(indexFile(folder, name))
	}
	return x
}

// check reports on out whether got is what a single process finds.
func check(out io.Writer, folder *os.Root, files []string, got *Index) error {
	began := time.Now()
	diff := got.Diff(indexAlone(folder, files))
	if len(diff) == 0 {
		fmt.Fprintf(out, "\ncheck: the same as one process finds, in %.1f s\n", time.Since(began).Seconds())
		return nil
	}
	const shown = 10
	for _, line := range diff[:min(len(diff), shown)] {
		fmt.Fprintln(out, "check:", line)
	}
	return fmt.Errorf("check: %d differences from what one process finds", len(diff))
}

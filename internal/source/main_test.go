package source

import (
	"fmt"
	"os"
	"syscall"
	"testing"
)

// TestMain lets this binary be the child that fetches, and after all tests
// looks at the most memory that any of the children took: whatever the hostile
// servers of the tests have sent, it must have stayed below the bound.
func TestMain(m *testing.M) {
	RunChild()
	code := m.Run()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_CHILDREN, &used); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	const most = 150 << 10 // KiB
	fmt.Printf("the largest child took %d MiB\n", used.Maxrss>>10)
	if used.Maxrss > most {
		fmt.Fprintf(os.Stderr, "a child took %d KiB; %d are allowed\n", used.Maxrss, most)
		code = 1
	}
	os.Exit(code)
}

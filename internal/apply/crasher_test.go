package apply_test

import "sync"

// crash is a panic that ends a run as kill -9 does.
type crash struct{}

// crasher crashes at one step. A step is before or after any call of the machine or
// the disk. After a crash nothing goes on, in no goroutine.
type crasher struct {
	mu        sync.Mutex
	at, steps int
	crashed   bool
}

func (b *crasher) step() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.steps++
	b.crashed = b.crashed || b.steps == b.at
	if b.crashed {
		panic(crash{})
	}
}

func (b *crasher) disk(string, string) error {
	b.step()
	return nil
}

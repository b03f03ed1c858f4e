package statetest

// PowerCuts calls trial once for each moment at which the power can be cut. The
// trial hands cut the directory of its files and what writes them. cut stops
// that before or after one call of the disk, loses nothing, half or all of what
// is not durable by then, and reports whether the writing had finished.
func PowerCuts(trial func(disk *Disk, cut func(dir string, write func()) (finished bool))) {
	for survives := range 3 {
		for stop, finished := 0, false; !finished; stop++ {
			disk := &Disk{}
			trial(disk, func(dir string, write func()) bool {
				finished = disk.stopAfter(stop, write)
				if finished && stop == 0 {
					panic("the writing does not go through the disk")
				}
				if err := disk.PowerCut(dir, func(n int) int { return n * survives / 2 }); err != nil {
					panic(err)
				}
				return finished
			})
		}
	}
}

// stopAfter calls write, and stops it after so many calls of the disk.
func (d *Disk) stopAfter(calls int, write func()) (finished bool) {
	type stopped struct{}
	step := func(string, string) error {
		if calls--; calls < 0 {
			panic(stopped{})
		}
		return nil
	}
	d.Before, d.After = step, step
	defer func() {
		d.Before, d.After = nil, nil
		if r := recover(); r != nil && r != (stopped{}) {
			panic(r)
		}
	}()
	write()
	return true
}

package state

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/openfile"
)

// Intent is a change that a run is about to make.
type Intent struct {
	nf.Change
	// Asked is the wish that the change is for.
	Asked nf.Wish `json:"asked"`
	// Instance is that of the target; for the node the boot id. A live value ends
	// with it.
	Instance string `json:"instance"`
}

// withKinds gives the values the kinds of their key: see nf.Value.As.
func (i Intent) withKinds() Intent {
	i.From, i.To, i.Asked = i.From.As(i.Key), i.To.As(i.Key), i.Asked.As(i.Key)
	i.Change.Asked = i.Asked
	return i
}

// Run is one run in the journal.
type Run struct {
	ID string `json:"id"` // of its receipt
	// BootID is that of the node: a live value ends with it.
	BootID  string   `json:"bootID"`
	Intents []Intent `json:"intents"`
	// ConfirmWithin is how long the changes wait for a confirmation once they are made; 0: they
	// need none. The run is open until they are confirmed or taken back.
	ConfirmWithin time.Duration `json:"confirmWithin,omitempty"`
	Plan          string        `json:"plan,omitempty"` // the id of the plan that is to be confirmed
	Revision      string        `json:"revision,omitempty"`
	// Made and Decision are what later records say.
	Made     *Made    `json:"-"`
	Decision Decision `json:"-"`
}

// record is one line of the journal: a run begins, some of its intents are completed or
// added, its changes are made and wait for a confirmation, that is decided, or it ends.
type record struct {
	Format   int      `json:"format"`
	Begin    *Run     `json:"begin,omitempty"`
	Intents  []Intent `json:"intents,omitempty"`
	Made     *Made    `json:"made,omitempty"`
	Decision Decision `json:"decision,omitempty"`
	End      bool     `json:"end,omitempty"`
}

// The space that the end of a run needs on the disk, for each byte of its beginning: a
// receipt, the memory of its keys, and the indentation of the envelope.
const roomFactor = 8

// Begin makes the intents of a run durable and reserves the space for its end. It replaces
// the journal of the run before.
func (d *Dir) Begin(r Run) error {
	line, err := encode(record{Format: format, Begin: &r})
	if err == nil {
		memories := int64(1)
		if r.ConfirmWithin > 0 {
			memories = 2 // one is kept for the confirmation
		}
		err = d.reserve(reserveName, memories*d.size(memoryName)+roomFactor*int64(len(line))+probeSize)
	}
	if err == nil {
		err = d.replace(journalName, line)
	}
	if err != nil {
		return fmt.Errorf("cannot write the journal %s: %w", d.file(journalName), err)
	}
	return nil
}

func (d *Dir) size(name string) int64 {
	info, err := os.Stat(d.file(name))
	if err != nil {
		return 0
	}
	return info.Size()
}

// Finishing frees the space that Begin has reserved, for the run to write its end.
func (d *Dir) Finishing() error { return d.release(reserveName) }

// Intend makes intents durable: each replaces the one for the same instance of the target,
// key and layer, which it completes, or is one more.
func (d *Dir) Intend(intents []Intent) error {
	return d.appendRecord(record{Format: format, Intents: intents})
}

// End makes durable that the run of the journal has ended.
func (d *Dir) End() error { return d.appendRecord(record{Format: format, End: true}) }

func (d *Dir) appendRecord(r record) error {
	return d.appendNext(func(openRun) (*record, error) { return &r, nil })
}

// openRun returns the run of the journal; false if it has ended.
type openRun func() (Run, bool, error)

// appendNext appends the record that next returns for the run of the journal, or none. No other
// process appends one meanwhile (flock(2)).
func (d *Dir) appendNext(next func(openRun) (*record, error)) error {
	if err := d.tryAppend(next); err != nil {
		return fmt.Errorf("cannot add to the journal %s: %w", d.file(journalName), err)
	}
	return nil
}

func (d *Dir) tryAppend(next func(openRun) (*record, error)) (err error) {
	f, err := open(d.file(journalName), os.O_RDWR|os.O_APPEND)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := flock(f); err != nil {
		return err
	}
	data, err := openfile.ReadAll(f, largest)
	if err != nil {
		return err
	}
	lines, whole, err := journalLines(data)
	if err != nil {
		return err
	}
	r, err := next(func() (Run, bool, error) { return runOf(lines) })
	if err != nil || r == nil {
		return err
	}
	line, err := encode(*r)
	if err != nil {
		return err
	}
	if err := f.Truncate(whole); err != nil { // what a crash left of an earlier record
		return err
	}
	return d.disk.Append(f, line)
}

// flock locks a file until it is closed. It waits for another process, which has it for the
// time of one append.
func flock(f *os.File) error {
	for {
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// Unfinished returns the run that has begun and not ended, if there is one.
func (d *Dir) Unfinished() (Run, bool, error) { return ReadUnfinished(d.path) }

// ReadUnfinished returns the open run of the journal below a state directory, as ReadMemory reads
// the memory.
func ReadUnfinished(path string) (Run, bool, error) {
	name := filepath.Join(path, journalName)
	data, err := read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return Run{}, false, nil
	}
	var lines []journalLine
	if err == nil {
		lines, _, err = journalLines(data)
	}
	var run Run
	var open bool
	if err == nil {
		run, open, err = runOf(lines)
	}
	if err != nil {
		return Run{}, false, readError(name, recoverRemedy, err)
	}
	return run, open, nil
}

// runOf returns the run of the lines of a journal; false if it has ended. Of one that has ended
// only the end is decoded: the rest can be long, and nothing needs it.
func runOf(lines []journalLine) (Run, bool, error) {
	if last, err := lines[len(lines)-1].decode(); err == nil && last.End {
		return Run{}, false, nil
	}
	records, err := decodeAll(lines)
	if err != nil {
		return Run{}, false, err
	}
	run := *records[0].Begin
	for _, r := range records[1:] {
		if r.End {
			return Run{}, false, nil
		}
		run.add(r.Intents)
		run.Made = cmp.Or(run.Made, r.Made)
		run.Decision = cmp.Or(run.Decision, r.Decision)
	}
	for i := range run.Intents {
		run.Intents[i] = run.Intents[i].withKinds()
	}
	return run, true, nil
}

// add replaces the intents for the same instances, keys and layers, and appends the others.
func (r *Run) add(intents []Intent) {
	type place struct {
		target   nf.Target
		instance string
		key      nf.Key
		layer    nf.Layer
	}
	at := map[place]int{}
	for i, intent := range r.Intents {
		at[place{intent.Target, intent.Instance, intent.Key, intent.Layer}] = i
	}
	for _, intent := range intents {
		if i, ok := at[place{intent.Target, intent.Instance, intent.Key, intent.Layer}]; ok {
			r.Intents[i] = intent
		} else {
			r.Intents = append(r.Intents, intent)
		}
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode returns a record as a line: checksum, length, and the record as JSON, which has
// neither a newline nor a zero byte.
func encode(r record) ([]byte, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "%08x %d %s\n", crc32.Checksum(text, castagnoli), len(text), text), nil
}

// journalLine is a line of the journal whose checksum is right.
type journalLine struct {
	at   int64  // its first byte
	text []byte // the record
}

// journalLines returns the lines of a journal, and their size in bytes. A crash can leave part
// of the record that was being appended: it is ignored. The first record was durable before the
// file had its name, and so is never torn. Anything else is damage.
func journalLines(data []byte) (lines []journalLine, whole int64, err error) {
	for rest := data; len(rest) > 0; {
		line, after, complete := bytes.Cut(rest, []byte{'\n'})
		if len(lines) > 0 && torn(rest, complete) {
			break
		}
		text, err := recordText(line)
		if err == nil && !complete {
			err = fmt.Errorf("%w: it is cut off", ErrDamaged)
		}
		if err != nil {
			return nil, 0, atByte(whole, err)
		}
		lines = append(lines, journalLine{whole, text})
		whole += int64(len(line)) + 1
		rest = after
	}
	if len(lines) == 0 {
		return nil, 0, atByte(0, fmt.Errorf("%w: it is empty", ErrDamaged))
	}
	return lines, whole, nil
}

func atByte(at int64, err error) error { return fmt.Errorf("at byte %d: %w", at, err) }

// decodeAll returns the records of the lines, the first of which begins a run.
func decodeAll(lines []journalLine) ([]record, error) {
	var records []record
	for i, line := range lines {
		r, err := line.decode()
		if err == nil && (r.Begin != nil) != (i == 0) {
			err = fmt.Errorf("%w: a run begins at its start only", ErrDamaged)
		}
		if err != nil {
			return nil, atByte(line.at, err)
		}
		records = append(records, r)
	}
	return records, nil
}

// torn reports whether a crash can have left the last bytes of the journal: the beginning
// of a record, or pages of zeros, but not a complete record without its newline.
func torn(rest []byte, complete bool) bool {
	if complete || bytes.Contains(rest, lostPage) {
		return bytes.Contains(rest, lostPage)
	}
	_, length, text := split(rest)
	n, err := strconv.Atoi(string(length))
	return err != nil || len(text) <= n
}

// lostPage is more zeros than a flipped bit can make.
var lostPage = make([]byte, 8)

// split splits a line into checksum, length and text.
func split(line []byte) (sum, length, text []byte) {
	sum, rest, _ := bytes.Cut(line, []byte{' '})
	length, text, _ = bytes.Cut(rest, []byte{' '})
	return sum, length, text
}

// recordText returns the record of a line, whose checksum and length must match.
func recordText(line []byte) ([]byte, error) {
	sum, length, text := split(line)
	if want := fmt.Sprintf("%08x %d", crc32.Checksum(text, castagnoli), len(text)); want != string(sum)+" "+string(length) {
		return nil, fmt.Errorf("%w: the checksum or the length of a record does not match", ErrDamaged)
	}
	return text, nil
}

func (l journalLine) decode() (record, error) {
	var r record
	if err := json.Unmarshal(l.text, &r); err != nil {
		return record{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if r.Format != format {
		return record{}, unknownFormat(r.Format)
	}
	return r, nil
}

package nf

import "fmt"

// Level is a netfilter level: a ceiling for what one network namespace may use.
// The four levels and their names are those of vzctl(8) and prlctl(8) of
// Virtuozzo 7.
type Level int

// The levels, in order. LevelUnset is no level at all.
const (
	LevelUnset Level = iota
	LevelDisabled
	LevelStateless
	LevelStateful
	LevelFull
)

var levelNames = [...]string{LevelDisabled: "disabled", LevelStateless: "stateless", LevelStateful: "stateful", LevelFull: "full"}

// LevelNames lists the names in order, lowest first.
func LevelNames() []string { return levelNames[LevelDisabled:] }

// ParseLevel returns the level of that exact, lower-case name.
func ParseLevel(name string) (Level, bool) {
	for l := LevelDisabled; l <= LevelFull; l++ {
		if levelNames[l] == name {
			return l, true
		}
	}
	return LevelUnset, false
}

// String returns the level's name.
func (l Level) String() string {
	if !l.named() {
		return fmt.Sprintf("level(%d)", int(l))
	}
	return levelNames[l]
}

func (l Level) named() bool { return l >= LevelDisabled && l <= LevelFull }

// Value returns the level as a value.
func (l Level) Value() Value { return Value{kind: kindLevel, number: int64(l)} }

// MarshalText returns the level's name, for JSON too.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads the name of a level.
func (l *Level) UnmarshalText(name []byte) error {
	level, ok := ParseLevel(string(name))
	if !ok {
		return fmt.Errorf("%q is no level", name)
	}
	*l = level
	return nil
}

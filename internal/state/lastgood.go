package state

import (
	"cmp"
	"path/filepath"
	"slices"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

const (
	lastGoodRemedy  = "put a good copy in its place, or move it away: the next revision that is fetched takes its place, and until then there is none to fall back on"
	positionsRemedy = "put a good copy in its place, or move it away: nfsync then takes each branch as it finds it, even one that was rewritten"
)

// LastGood is the last revision that was fetched, verified and valid, with its policies.
// It is enforced while no newer one is available.
type LastGood struct {
	Revision string `json:"revision"` // the commit; empty: there is none yet
	URL      string `json:"url"`      // the one that delivered it, as nf.PublicURL returns it
	Branch   string `json:"branch,omitempty"`
	Head     bool   `json:"head,omitempty"` // as in Position
	Tag      string `json:"tag,omitempty"`
	Signer   string `json:"signer,omitempty"` // who signed the commit, where that was verified
	// Verified is the mode of verification that it was fetched with; empty is none.
	Verified string `json:"verified,omitempty"`
	// Since is the time at which this nfsync first had it.
	Since time.Time    `json:"since"`
	Files []PolicyFile `json:"files"`
}

// PolicyFile is one policy file of a revision. It is UTF-8, so that its text has the very
// bytes.
type PolicyFile struct {
	Name string `json:"name"` // in the repository
	Text string `json:"text"`
}

// Position is the commit of a branch that was applied last.
type Position struct {
	URL    string `json:"url"` // as nf.PublicURL returns it
	Branch string `json:"branch"`
	Commit string `json:"commit"`
	Head   bool   `json:"head,omitempty"` // no branch was configured, and HEAD named this one, or a commit if it is empty
}

// positions is the document of all positions.
type positions struct {
	List []Position `json:"positions"` // sorted by URL and branch, each pair once
}

// ReadLastGood reads the last good revision below a state directory, as
// ReadMemory reads the memory. Its Revision is empty where there is none.
func ReadLastGood(path string) (LastGood, error) {
	var g LastGood
	if _, err := load(filepath.Join(path, lastGoodName), lastGoodName, lastGoodRemedy, &g); err != nil {
		return LastGood{}, err
	}
	return g, nil
}

// LastGood reads the last good revision.
func (d *Dir) LastGood() (LastGood, error) { return ReadLastGood(d.path) }

// SaveLastGood replaces the last good revision.
func (d *Dir) SaveLastGood(g LastGood) error { return d.save(lastGoodName, lastGoodName, g) }

// ReadPositions reads the positions below a state directory, as ReadMemory
// reads the memory.
func ReadPositions(path string) ([]Position, error) {
	var p positions
	if _, err := load(filepath.Join(path, positionsName), positionsName, positionsRemedy, &p); err != nil {
		return nil, err
	}
	return p.List, nil
}

// Positions reads the positions.
func (d *Dir) Positions() ([]Position, error) { return ReadPositions(d.path) }

// SavePosition saves a commit as the last applied one of its URL and branch. HEAD names one
// branch of a URL: the last one that is saved so. A run that names its branch does not change
// which one that is.
func (d *Dir) SavePosition(p Position) error {
	list, err := d.Positions()
	if err != nil {
		return err
	}
	same := func(q Position) bool { return nf.PublicURL(q.URL) == p.URL && q.Branch == p.Branch }
	if i := slices.IndexFunc(list, same); i >= 0 {
		p.Head = p.Head || list[i].Head
		if list[i] == p {
			return nil
		}
	}
	list = slices.DeleteFunc(list, same)
	for i := range list {
		if p.Head && nf.PublicURL(list[i].URL) == p.URL {
			list[i].Head = false
		}
	}
	list = append(list, p)
	slices.SortFunc(list, func(a, b Position) int {
		return cmp.Or(cmp.Compare(a.URL, b.URL), cmp.Compare(a.Branch, b.Branch))
	})
	return d.save(positionsName, positionsName, positions{list})
}

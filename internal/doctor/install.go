package doctor

import (
	"os"
	"path/filepath"

	"nfsync.dev/nfsync/internal/view"
)

// installation says which of the parts that help people are installed. None of them is needed.
func (n *Node) installation() []view.Check {
	return []view.Check{
		n.part("manual", "nfsync help shows the same", "usr/share/man/man1/nfsync.1", "usr/share/man/man1/nfsync.1.gz", "usr/local/share/man/man1/nfsync.1"),
		n.part("completion", "nfsync completion bash prints it", "usr/share/bash-completion/completions/nfsync", "etc/bash_completion.d/nfsync"),
	}
}

// part says where one of the files is.
func (n *Node) part(name, without string, files ...string) view.Check {
	for _, file := range files {
		if path := filepath.Join(n.Root, file); exists(path) {
			return passed(name, path)
		}
	}
	return passed(name, "not installed: "+without)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

package main

// product is a program with its archives and packages.
type product struct {
	name string // of the program and of what it comes in
	nfpm string // the file that describes its packages
	// Files and directories of the repository, and where they go in the tree.
	files, trees map[string]string
}

// products are the programs of a release. Nodes do not need the coordinator, which has a NATS server in it.
var products = []product{
	{
		name: "nfsync", nfpm: "packaging/nfpm.yaml",
		files: map[string]string{"LICENSE": "files", "README.md": "files", "CHANGELOG.md": "files", "packaging/prometheus/nfsync.rules.yml": "files/prometheus",
			"packaging/grafana/nfsync.json": "files/grafana", "packaging/copyright": "package"},
		trees: map[string]string{"docs": "files/docs", "examples": "files/examples", "schemas": "files/schemas", "packaging/systemd": "files/systemd", "packaging/hooks": "files/hooks",
			"packaging/deb": "package/deb", "packaging/rpm": "package/rpm"},
	},
	{
		name: "nfsync-coordinator", nfpm: "packaging/coordinator/nfpm.yaml",
		files: map[string]string{"LICENSE": "files", "README.md": "files", "CHANGELOG.md": "files", "examples/coordinator.yaml": "files/examples",
			"schemas/coordinatorconfig.schema.json": "files/schemas", "packaging/coordinator/coordinator.yaml": "files/config", "packaging/coordinator/copyright": "package"},
		trees: map[string]string{"docs": "files/docs", "packaging/coordinator/systemd": "files/systemd", "packaging/coordinator/sysusers": "files/sysusers",
			"packaging/coordinator/deb": "package/deb", "packaging/coordinator/rpm": "package/rpm"},
	},
}

// source returns the package of the program.
func (p product) source() string { return "./cmd/" + p.name }

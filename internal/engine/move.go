package engine

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"nfsync.dev/nfsync/internal/fleet"
)

// OwnStore stands for the store of the server that the coordinator has run in its directory.
const OwnStore = "store"

// CopyFrom copies what a store of the fleet holds to servers that have its streams already, and returns how many values it has
// copied. The source is OwnStore, where no server may run at that time, or the URL of a server.
func (d *Directory) CopyFrom(ctx context.Context, source string, to Servers) (copied int, err error) {
	from, end, err := d.source(ctx, source, to)
	if err != nil {
		return 0, err
	}
	defer end()
	c, err := d.Connect(ctx, to)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	js, err := jetstream.New(c)
	if err != nil {
		return 0, err
	}
	return fleet.Copy(ctx, from, js)
}

// source connects to a store that is copied from.
func (d *Directory) source(ctx context.Context, source string, to Servers) (c *nats.Conn, end func(), err error) {
	if source != OwnStore {
		c, err := d.Connect(ctx, Servers{URLs: []string{source}, CAFile: to.CAFile})
		if err != nil {
			return nil, nil, err
		}
		return c, c.Close, nil
	}
	there, err := exists(d.inside(dirStore))
	if err != nil {
		return nil, nil, err
	}
	if !there {
		return nil, nil, fmt.Errorf("there is no store in %s: the coordinator has run no server there", d.path)
	}
	s, err := Start(ctx, d, Options{Listen: Listen{Address: "127.0.0.1:0"}})
	if err != nil {
		return nil, nil, err
	}
	c, err = d.connect(ctx, fileCoordinator, "", nats.InProcessServer(s))
	if err != nil {
		s.Shutdown()
		return nil, nil, err
	}
	return c, func() { c.Close(); s.Shutdown() }, nil
}

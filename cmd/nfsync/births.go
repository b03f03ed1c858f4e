package main

import (
	"context"
	"log/slog"

	"nfsync.dev/nfsync/internal/host"
	"nfsync.dev/nfsync/internal/runtimes"
	"nfsync.dev/nfsync/internal/watch"
)

// runtimePaths are the directories where containers of other runtimes than Virtuozzo's appear and
// vanish. A container that appears wakes a lap for it alone, before its program runs.
func (l *loop) runtimePaths() []watch.Path {
	node, err := host.New(l.host()).Runtimes()
	if err != nil {
		l.say(slog.LevelWarn, "new containers are found in the intervals of laps only: "+err.Error(), "")
		return nil
	}
	var paths []watch.Path
	for _, dir := range node.Dirs(l.runtimes) {
		p := watch.Path{Name: dir.Path, Only: dir.BirthsOnly}
		if len(dir.Births) > 0 {
			p.Made = l.awaitBirth(node, dir.Births)
		}
		paths = append(paths, p)
	}
	return paths
}

// awaitBirth returns what wakes a lap for the container that an entry of a directory stands for.
func (l *loop) awaitBirth(node runtimes.Node, names []string) func(context.Context, string, func()) {
	return func(ctx context.Context, entry string, changed func()) {
		for {
			c, found, mine := node.AwaitBirth(ctx, names, entry)
			if !found {
				if mine && ctx.Err() == nil { // a lap for the whole node looks for it in another way
					changed()
				}
				return
			}
			l.agent.WakeBirth(c)
			if node.Stays(ctx, &c) {
				return
			}
		}
	}
}

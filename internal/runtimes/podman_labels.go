package runtimes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

const (
	podmanSocket = "run/podman/podman.sock"
	podmanAPI    = "/v4.0.0/libpod/" // also of Podman 5 (pkg/api/server)
)

// podmanLabels returns the labels of the containers of root, which Podman has in its database. systemd
// starts Podman for this request if it listens on the socket. A pod has the labels of the pod.
func podmanLabels(ctx context.Context, n Node) (map[string]map[string]string, error) {
	var containers []podmanListed
	var pods []podmanPod
	socket := n.path(podmanSocket)
	err := ask(ctx, socket, podmanAPI+"containers/json?all=true", &containers)
	if err == nil {
		err = ask(ctx, socket, podmanAPI+"pods/json", &pods)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("cannot ask Podman for the labels: it does not listen on /%s: run 'systemctl enable --now podman.socket'", podmanSocket)
	case err != nil:
		return nil, fmt.Errorf("cannot ask Podman for the labels on /%s: %w", podmanSocket, err)
	}
	labels := make(map[string]map[string]string, len(containers))
	for _, c := range containers {
		labels[c.ID] = c.Labels
	}
	for _, p := range pods {
		labels[p.InfraID] = p.Labels
	}
	return labels, nil
}

// podmanListed is what is read of a container (ListContainer in pkg/domain/entities/types/container_ps.go of podman).
type podmanListed struct {
	ID     string `json:"Id"`
	Labels map[string]string
}

// podmanPod is what is read of a pod (ListPodsReport in pkg/domain/entities/types/pods.go of podman).
type podmanPod struct {
	InfraID string `json:"InfraId"`
	Labels  map[string]string
}

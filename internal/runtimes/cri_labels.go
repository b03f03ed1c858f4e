package runtimes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// labelsCRI asks containerd and CRI-O for the labels of pods: those that a pod had when its sandbox was
// made. They are by the uid of the pod, and by the id of the sandbox for an older one.
func labelsCRI(ctx context.Context, n Node) (map[string]map[string]string, error) {
	var all []podSandbox
	var errs error
	asked := false
	for _, socket := range n.criSockets() {
		if _, err := os.Lstat(socket); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		asked = true
		list, err := listPodSandbox(ctx, socket)
		if err != nil {
			errs = errors.Join(errs, fmt.Errorf("cannot ask %s: %w", socket, err))
		}
		all = append(all, list...)
	}
	if !asked {
		return nil, fmt.Errorf("neither containerd nor CRI-O is running: %s does not exist", n.path(containerds[0].socket))
	}
	slices.SortStableFunc(all, func(a, b podSandbox) int { // the one that counts is the last
		return cmp.Or(cmp.Compare(b.state, a.state), cmp.Compare(a.created, b.created))
	})
	labels := map[string]map[string]string{}
	for _, s := range all {
		labels[s.id], labels[s.uid] = s.labels, s.labels
	}
	return labels, errs
}

// criSockets returns where containerd and CRI-O listen.
func (n Node) criSockets() []string {
	var paths []string
	for _, c := range containerds {
		paths = append(paths, n.path(c.socket))
	}
	return append(paths, n.path(crioSocket))
}

// listPodSandbox asks for the sandboxes of all pods: ListPodSandbox of RuntimeService in
// pkg/apis/runtime/v1/api.proto of k8s.io/cri-api. containerd before 1.6 has only v1alpha2, in which
// the message is the same.
func listPodSandbox(ctx context.Context, socket string) ([]podSandbox, error) {
	var answer []byte
	var err error
	for _, version := range []string{"v1", "v1alpha2"} {
		answer, err = callGRPC(ctx, socket, "/runtime."+version+".RuntimeService/ListPodSandbox", nil)
		if status, ok := errors.AsType[grpcError](err); !ok || status.code != grpcUnimplemented {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	return parsePodSandboxes(answer)
}

// podSandbox is a PodSandbox of api.proto.
type podSandbox struct {
	id, uid string
	state   uint64 // 0: ready, 1: not ready
	created uint64 // in nanoseconds since 1970
	labels  map[string]string
}

// parsePodSandboxes reads a ListPodSandboxResponse of api.proto.
func parsePodSandboxes(message []byte) ([]podSandbox, error) {
	var list []podSandbox
	err := eachField(message, func(number protowire.Number, value []byte, _ uint64) error {
		if number != 1 {
			return nil
		}
		s, err := parsePodSandbox(value)
		list = append(list, s)
		return err
	})
	return list, err
}

func parsePodSandbox(message []byte) (podSandbox, error) {
	s := podSandbox{labels: map[string]string{}}
	err := eachField(message, func(number protowire.Number, value []byte, integer uint64) error {
		switch number {
		case 1:
			s.id = string(value)
		case 2: // PodSandboxMetadata
			return eachField(value, func(number protowire.Number, value []byte, _ uint64) error {
				if number == 2 {
					s.uid = string(value)
				}
				return nil
			})
		case 3:
			s.state = integer
		case 4:
			s.created = integer
		case 5: // an entry of the map: its key and its value
			var entry [2]string
			err := eachField(value, func(number protowire.Number, value []byte, _ uint64) error {
				if number == 1 || number == 2 {
					entry[number-1] = string(value)
				}
				return nil
			})
			s.labels[entry[0]] = entry[1]
			return err
		}
		return nil
	})
	return s, err
}

// eachField calls do for each field of a message of Protocol Buffers, with the bytes of a field that has
// bytes, or the integer of one that has an integer.
func eachField(message []byte, do func(number protowire.Number, value []byte, integer uint64) error) error {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return protowire.ParseError(n)
		}
		message = message[n:]
		var value []byte
		var integer uint64
		switch kind {
		case protowire.BytesType:
			value, n = protowire.ConsumeBytes(message)
		case protowire.VarintType:
			integer, n = protowire.ConsumeVarint(message)
		default:
			n = protowire.ConsumeFieldValue(number, kind, message)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		if err := do(number, value, integer); err != nil {
			return err
		}
		message = message[n:]
	}
	return nil
}

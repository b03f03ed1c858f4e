package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/internal/nf"
)

const cniVerb = "cni"

// isCNI reports whether a CNI runtime has called nfsync: it passes no arguments, and the command in the
// environment.
func isCNI(sys system) bool { return len(sys.args) == 0 && sys.getenv("CNI_COMMAND") != "" }

func cniCommand(a *app) *cobra.Command {
	var o hookOptions
	cmd := &cobra.Command{
		Use:   cniVerb,
		Short: "Set the values of a pod before it starts, as a CNI plugin",
		Long: `Cni is a plugin of the Container Network Interface, which comes after others in
the plugins of a network: type: nfsync, with a link /opt/cni/bin/nfsync to the
program. It passes the result of the plugin before it on. ADD sets the values of
the pod, as nfsync hook does, or fails with an error of CNI. All other commands
change nothing.

The configuration of the plugin may have timeout: "5s" and bestEffort: true,
which the flags override.`,
		Example:           "  ln -s /usr/bin/nfsync /opt/cni/bin/nfsync\n  CNI_COMMAND=VERSION nfsync cni < /dev/null",
		Args:              argCount(0, 0, ""),
		ValidArgsFunction: completeNothing,
		PersistentPreRunE: a.checkHook,
	}
	cmd.RunE = withContext(func(ctx context.Context, _ []string) error {
		given := func(flag string) bool { return cmd.Flags().Changed(flag) }
		result, err := a.cni(ctx, &o, given)
		if err != nil {
			return a.refuseCNI(err)
		}
		_, err = a.stdout.Write(result)
		return err
	})
	o.register(cmd.Flags())
	return cmd
}

// The error codes of CNI (SPEC.md of containernetworking/cni, "Error"). Those from 100 on are a plugin's own.
const (
	cniVersionCode = 1
	cniEnvironment = 4
	cniDecode      = 6
	cniConfig      = 7
	cniNotInSync   = 100
)

// cniVersions are the versions of CNI in which plugins are chained.
var cniVersions = []string{"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"}

// cniSince is the first version that has a command; those that are not here are in all.
var cniSince = map[string]string{"CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}

// cniError is an error of CNI.
type cniError struct {
	Version string `json:"cniVersion"`
	Code    int    `json:"code"`
	Msg     string `json:"msg"`
	Details string `json:"details,omitempty"`
}

func (e cniError) Error() string { return e.Msg }

// cniNetwork is what is read of the configuration of a network.
type cniNetwork struct {
	Version    string          `json:"cniVersion"`
	Name       string          `json:"name"`
	Previous   json.RawMessage `json:"prevResult"`
	Timeout    string          `json:"timeout"`
	BestEffort bool            `json:"bestEffort"`
}

// refuseCNI writes an error as CNI has it.
func (a *app) refuseCNI(err error) error {
	e, ok := errors.AsType[cniError](err)
	if !ok {
		e = cniError{Code: cniNotInSync, Msg: oneLine(err.Error()), Details: hintFor(err, "nfsync cni")}
	}
	if e.Version == "" {
		e.Version = cniVersions[len(cniVersions)-1]
	}
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	_, err = a.stdout.Write(append(text, '\n'))
	return errors.Join(err, outcome(exitError))
}

// cni executes the command in the environment, and returns what goes to standard output. given reports
// whether a flag was given.
func (a *app) cni(ctx context.Context, o *hookOptions, given func(flag string) bool) ([]byte, error) {
	command := a.getenv("CNI_COMMAND")
	if !slices.Contains([]string{"ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"}, command) {
		return nil, cniError{Code: cniEnvironment, Msg: "CNI_COMMAND is none of ADD, DEL, CHECK, GC, STATUS and VERSION", Details: command}
	}
	reading, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	data, err := a.readInput(reading)
	if err != nil {
		return nil, cniError{Code: cniDecode, Msg: "cannot read the configuration of the network", Details: err.Error()}
	}
	if command == "VERSION" {
		return answerCNIVersion(data)
	}
	var n cniNetwork
	if err := json.Unmarshal(data, &n); err != nil {
		return nil, cniError{Code: cniDecode, Msg: "cannot decode the configuration of the network", Details: err.Error()}
	}
	switch since := slices.Index(cniVersions, cniSince[command]); {
	case !slices.Contains(cniVersions, n.Version):
		return nil, cniError{Code: cniVersionCode, Msg: "incompatible CNI version", Details: fmt.Sprintf("the configuration has version %q, and nfsync has %s", n.Version, strings.Join(cniVersions, ", "))}
	case slices.Index(cniVersions, n.Version) < since:
		return nil, cniError{Version: n.Version, Code: cniVersionCode, Msg: "the version of the configuration does not have " + command, Details: "it has it since " + cniSince[command]}
	case command != "ADD":
		return nil, nil
	}
	result, err := a.addCNI(ctx, o, n, given)
	if e, ok := errors.AsType[cniError](err); ok {
		e.Version = n.Version
		return nil, e
	} else if err != nil {
		return nil, cniError{Version: n.Version, Code: cniNotInSync, Msg: oneLine(err.Error()), Details: hintFor(err, "nfsync cni")}
	}
	return result, nil
}

// answerCNIVersion returns the versions of CNI, given the input of VERSION.
func answerCNIVersion(data []byte) ([]byte, error) {
	version := cniVersions[len(cniVersions)-1]
	var n cniNetwork
	if err := json.Unmarshal(data, &n); err == nil && n.Version != "" {
		version = n.Version
	}
	text, err := json.Marshal(struct {
		Version   string   `json:"cniVersion"`
		Supported []string `json:"supportedVersions"`
	}{version, cniVersions})
	return append(text, '\n'), err
}

// addCNI sets the values of a pod, and returns the result of the plugin before this one.
func (a *app) addCNI(ctx context.Context, o *hookOptions, n cniNetwork, given func(flag string) bool) ([]byte, error) {
	if err := o.takeCNI(n, given); err != nil {
		return nil, cniError{Code: cniConfig, Msg: "invalid configuration of the network", Details: err.Error()}
	}
	result, err := passedOn(n)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"} {
		if a.getenv(name) == "" {
			return nil, cniError{Code: cniEnvironment, Msg: name + " is not set"}
		}
	}
	g, ok := podOf(a.getenv)
	if !ok {
		a.say(slog.LevelInfo, "CNI_ARGS names no pod with its uid: nothing is done", "")
		return result, nil
	}
	wayOut := fmt.Sprintf(`to start pods all the same, remove nfsync from the plugins of the network %s, or add "bestEffort": true to it`, n.Name)
	return result, a.hook(ctx, o, wayOut, func(context.Context) (nf.Given, error) { return g, nil })
}

// takeCNI takes from the configuration of the plugin what the flags do not say.
func (o *hookOptions) takeCNI(n cniNetwork, given func(flag string) bool) error {
	if !given("best-effort") {
		o.bestEffort = n.BestEffort
	}
	if n.Timeout != "" && !given("timeout") {
		timeout, err := time.ParseDuration(n.Timeout)
		if err != nil {
			return fmt.Errorf("timeout: %w", err)
		}
		o.timeout = timeout
	}
	return o.check()
}

// passedOn returns the result of the plugin before this one, as that of this one.
func passedOn(n cniNetwork) ([]byte, error) {
	members := map[string]json.RawMessage{}
	if err := json.Unmarshal(n.Previous, &members); err != nil || len(n.Previous) == 0 || members == nil {
		return nil, cniError{Code: cniConfig, Msg: "invalid configuration of the network", Details: "there is no prevResult: nfsync comes after another plugin"}
	}
	if members["cniVersion"] != nil {
		return append(n.Previous, '\n'), nil
	}
	version, err := json.Marshal(n.Version)
	if err != nil {
		return nil, err
	}
	members["cniVersion"] = version
	text, err := json.Marshal(members)
	return append(text, '\n'), err
}

// podOf returns the pod that the environment of a CNI plugin names. Its arguments are those that containerd
// (toCNILabels in internal/cri/server/sandbox_run.go) and CRI-O (buildCNIRuntimeConf of ocicni) pass on
// from kubelet. It is false where another runtime has called.
func podOf(getenv func(string) string) (g nf.Given, ok bool) {
	args := map[string]string{}
	for arg := range strings.SplitSeq(getenv("CNI_ARGS"), ";") {
		key, value, _ := strings.Cut(arg, "=")
		args[key] = value
	}
	namespace, name, uid := args["K8S_POD_NAMESPACE"], args["K8S_POD_NAME"], args["K8S_POD_UID"]
	if namespace == "" || name == "" || uid == "" {
		return g, false
	}
	g = nf.Given{Runtimes: []string{nf.RuntimeCRI}, ID: uid, Name: namespace + "/" + name, File: getenv("CNI_NETNS")}
	if sandbox := getenv("CNI_CONTAINERID"); sandbox != uid {
		g.Aliases = []string{sandbox}
	}
	return g, true
}

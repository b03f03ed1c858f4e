package words

import (
	"bytes"
	"encoding/json"
	"fmt"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/kernel"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/view"
	"nfsync.dev/nfsync/schemas"
)

// conditions explains the conditions of the status of an agent.
func conditions() []view.Explanation {
	return each(agent.Conditions(), func(c agent.ConditionText) view.Explanation {
		return view.Explanation{Word: string(c.Type), Sense: view.Sense{Topic: view.TopicCondition, Meaning: c.Meaning, Cause: c.Cause, Remedy: c.Remedy}}
	})
}

// probes explains what nfsync asks the kernel, as doctor shows it.
func probes() []view.Explanation {
	return each(kernel.Probes(), func(p *kernel.Probe) view.Explanation {
		meaning := fmt.Sprintf("What Linux can since %s. Where the kernel cannot, nfsync %s.", p.Since, p.Without)
		cause := ""
		if p.Config != "" {
			cause = "The kernel is built with CONFIG_" + p.Config + "."
		}
		return view.Explanation{Word: p.Name, Sense: view.Sense{Topic: view.TopicProbe, Meaning: meaning, Cause: cause, Remedy: "none needed"}}
	})
}

// capabilities explains the capabilities of a snapshot, as its schema describes them.
func capabilities() []view.Explanation {
	text, _ := schemas.Get(nf.KindNodeSnapshot)
	var schema struct {
		Definitions struct {
			Capabilities struct{ Properties described } `json:"capabilities"`
		} `json:"definitions"`
	}
	if err := json.Unmarshal(text, &schema); err != nil {
		return nil
	}
	return schema.Definitions.Capabilities.Properties.explanations("")
}

// described are the properties of a schema, in its order.
type described []property

type property struct {
	name, Description string
	Properties        described
}

// UnmarshalJSON keeps the order, in which a map would not be.
func (d *described) UnmarshalJSON(text []byte) error {
	in := json.NewDecoder(bytes.NewReader(text))
	if _, err := in.Token(); err != nil {
		return err
	}
	for in.More() {
		name, err := in.Token()
		if err != nil {
			return err
		}
		p := property{name: fmt.Sprint(name)}
		if err := in.Decode(&p); err != nil {
			return err
		}
		*d = append(*d, p)
	}
	return nil
}

// explanations explains the properties and, as prefix.name, those within.
func (d described) explanations(prefix string) []view.Explanation {
	var list []view.Explanation
	for _, p := range d {
		list = append(list, view.Explanation{Word: prefix + p.name, Sense: view.Sense{Topic: view.TopicCapability, Meaning: p.Description}})
		list = append(list, p.Properties.explanations(prefix+p.name+".")...)
	}
	return list
}

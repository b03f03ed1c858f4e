package words

import (
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
			Capabilities property `json:"capabilities"`
		} `json:"definitions"`
	}
	if err := json.Unmarshal(text, &schema); err != nil {
		return nil
	}
	return explained(schema.Definitions.Capabilities.Properties, "")
}

// property is what an explanation takes of a property of a schema.
type property struct {
	Description string
	Properties  schemas.Ordered[property]
}

// explained explains properties and, as prefix.name, those within.
func explained(properties schemas.Ordered[property], prefix string) []view.Explanation {
	var list []view.Explanation
	for _, p := range properties {
		list = append(list, view.Explanation{Word: prefix + p.Name, Sense: view.Sense{Topic: view.TopicCapability, Meaning: p.Value.Description}})
		list = append(list, explained(p.Value.Properties, prefix+p.Name+".")...)
	}
	return list
}

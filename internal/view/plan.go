package view

import (
	"io"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/spec"
)

// Plans is the output of plan.
var Plans = streamed(newKind(planJSON, outlined(planOutline)).with(reportFormats(planOutline, planSuites, "plan")...), writePlan)

// writePlan writes the JSON of a plan list by list: that of a large node takes tens of megabytes.
func writePlan(w io.Writer, p nf.Plan) error {
	lists := []longList{longListOf("changes", &p.Changes), longListOf("refusals", &p.Refusals), longListOf("pending", &p.Pending), longListOf("warnings", &p.Warnings)}
	return writeLists(w, filledPlan(p), lists)
}

func planJSON(p nf.Plan) any { return filledPlan(p) }

func filledPlan(p nf.Plan) nf.Plan {
	p.Changes = filled(p.Changes)
	p.Refusals = filled(p.Refusals)
	p.Pending = filled(p.Pending)
	p.Warnings = filled(p.Warnings)
	return p
}

type savedPlan struct {
	nf.Plan
	Policies []policyFile `json:"policies"`
	Digest   string       `json:"digest,omitempty"`
}

type policyFile struct {
	File string `json:"file"`
	Text string `json:"text"`
}

// SavedPlan writes a plan together with the policy files that it was made
// from, as JSON, for a later apply.
func SavedPlan(w io.Writer, p nf.Plan, files []spec.File) error {
	doc := savedPlan{Plan: filledPlan(p), Policies: []policyFile{}}
	for _, f := range files {
		doc.Policies = append(doc.Policies, policyFile{f.Name, string(f.Data)})
	}
	out, err := encodeJSON(doc)
	if err == nil {
		doc.Digest, err = spec.Digest(out)
	}
	if err == nil {
		out, err = encodeJSON(doc)
	}
	if err != nil {
		return err
	}
	return write(w, out)
}

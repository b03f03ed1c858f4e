// Package nf has the types that all other packages share: targets, keys, values, wants,
// facts, snapshots, changes and refusals.
//
// It imports the standard library only and does no I/O, so that the document
// types of the public formats (NodeSnapshot, Plan) can be used anywhere.
package nf

// APIVersion is the version of every document that nfsync reads or writes.
const APIVersion = "nfsync.dev/v1alpha1"

// The kinds of documents.
const (
	KindNodePolicy      = "NodePolicy"
	KindContainerPolicy = "ContainerPolicy"
	KindNodeSnapshot    = "NodeSnapshot"
	KindPlan            = "Plan"
	KindReceipt         = "Receipt"
	KindReceipts        = "Receipts"
	KindAgentConfig     = "AgentConfig"
	KindDiagnostics     = "Diagnostics"
	KindDoctor          = "Doctor"
	KindExplanation     = "Explanation"
	KindForgotten       = "Forgotten"
	KindRecovery        = "Recovery"
	KindSchemaList      = "SchemaList"
	KindVersion         = "Version"
	KindVocabulary      = "Vocabulary"
	KindConfirmation    = "Confirmation"

	KindCoordinatorConfig = "CoordinatorConfig"
)

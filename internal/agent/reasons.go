package agent

// Reason is why a condition of the status is as it is: one word, for programs.
type Reason string

// The reasons.
const (
	ReasonStarting             Reason = "Starting"
	ReasonNoRevision           Reason = "NoRevision"
	ReasonChangesFailed        Reason = "ChangesFailed"
	ReasonRefused              Reason = "Refused"
	ReasonInForce              Reason = "InForce"
	ReasonStuck                Reason = "Stuck"
	ReasonProgressing          Reason = "Progressing"
	ReasonUpToDate             Reason = "UpToDate"
	ReasonAsWanted             Reason = "AsWanted"
	ReasonChangedByOthers      Reason = "ChangedByOthers"
	ReasonNothingPending       Reason = "NothingPending"
	ReasonWaitsForRestart      Reason = "WaitsForRestart"
	ReasonRunning              Reason = "Running"
	ReasonSuspended            Reason = "Suspended"
	ReasonNotRead              Reason = "NotRead"
	ReasonNotFilling           Reason = "NotFilling"
	ReasonFilling              Reason = "Filling"
	ReasonFull                 Reason = "Full"
	ReasonPublished            Reason = "Published"
	ReasonPublishFailed        Reason = "PublishFailed"
	ReasonNotOwner             Reason = "NotOwner"
	ReasonInvalidConfiguration Reason = "InvalidConfiguration"
	ReasonInvalidPolicies      Reason = "InvalidPolicies"
	ReasonNotTrusted           Reason = "NotTrusted"
	ReasonRewritten            Reason = "Rewritten"
	ReasonFetchFailed          Reason = "FetchFailed"
	ReasonFailedBefore         Reason = "FailedBefore"
	ReasonUnconfirmed          Reason = "Unconfirmed"
	ReasonLocked               Reason = "Locked"
	ReasonError                Reason = "Error"
)

//! What a call came to when it did not succeed: one stable code per case, and the one table that maps it to HTTP and
//! gRPC. A [`Problem`] travels the mesh as it is and becomes `application/problem+json` (RFC 9457) at the gateway.

use std::fmt;

/// Declares [`Code`] with its one table: variant, stable text, HTTP status, gRPC code, title.
macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $tag:literal, $text:literal, $http:literal, $grpc:literal, $title:literal;)*) => {
        /// The stable code of a problem. Clients may rely on its text and number; they never change.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, prost::Enumeration)]
        #[repr(i32)]
        pub enum Code { $($(#[$doc])* $variant = $tag,)* }

        impl Code {
            /// Every code, in the order of its number.
            pub const ALL: &[Code] = &[$(Code::$variant,)*];

            /// The text in member `code` of a problem document.
            pub const fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $text,)* }
            }

            /// The HTTP status (RFC 9110).
            pub const fn http_status(self) -> u16 {
                match self { $(Code::$variant => $http,)* }
            }

            /// The gRPC status code's number (google.rpc.Code).
            pub const fn grpc_code(self) -> i32 {
                match self { $(Code::$variant => $grpc,)* }
            }

            /// A short summary for people; the same for every problem of the code.
            pub const fn title(self) -> &'static str {
                match self { $(Code::$variant => $title,)* }
            }
        }
    };
}

codes! {
    /// A failure of the platform itself; the log says more.
    Internal = 0, "internal", 500, 13, "the platform failed";
    /// The request is not well-formed or names something that cannot be.
    Invalid = 1, "invalid", 400, 3, "the request is not valid";
    /// No credentials, or none that count.
    Unauthenticated = 2, "unauthenticated", 401, 16, "credentials are needed";
    /// The credentials do not allow it.
    Denied = 3, "denied", 403, 7, "not allowed";
    /// The class, method, object or field does not exist.
    NotFound = 4, "not-found", 404, 5, "not found";
    /// It contradicts what is there.
    Conflict = 5, "conflict", 409, 10, "conflict";
    /// A chain of calls would enter an object that is already in it.
    ReentrantCall = 6, "reentrant-call", 409, 9, "the call would re-enter an object";
    /// A precondition (`If-Match`, `If-None-Match`) does not hold.
    VersionMismatch = 7, "version-mismatch", 412, 9, "the precondition does not hold";
    /// A body, field or result is larger than allowed.
    PayloadTooLarge = 8, "payload-too-large", 413, 11, "too large";
    /// The object is too large to be read whole.
    ObjectTooLarge = 9, "object-too-large", 413, 11, "the object is too large to be read whole";
    /// The function returned its own error; member `error` holds it.
    FunctionError = 10, "function-error", 422, 9, "the function returned an error";
    /// The idempotency key was used for another call.
    IdempotencyMismatch = 11, "idempotency-mismatch", 422, 3, "the idempotency key belongs to another call";
    /// The component cannot be deployed.
    InvalidComponent = 12, "invalid-component", 422, 3, "the component is not valid";
    /// Too much is waiting; try again later.
    Overloaded = 13, "overloaded", 429, 8, "overloaded";
    /// The guest trapped; `backtrace` shows where.
    Trap = 14, "trap", 500, 13, "the function trapped";
    /// The turn used up its processor time.
    CpuLimit = 15, "cpu-limit", 500, 8, "out of processor time";
    /// The turn wanted more memory than allowed.
    MemoryLimit = 16, "memory-limit", 500, 8, "out of memory";
    /// The turn wrote more than allowed.
    WriteLimit = 17, "write-limit", 500, 8, "too much written";
    /// The partition has no leader that can commit.
    NoQuorum = 18, "no-quorum", 503, 14, "no quorum";
    /// A host is gone, stopping or unhealthy.
    Unavailable = 19, "unavailable", 503, 14, "unavailable";
    /// The request's own deadline passed.
    Deadline = 20, "deadline", 504, 4, "the deadline passed";
    /// The turn took longer than its class allows.
    WallLimit = 21, "wall-limit", 504, 4, "the function took too long";
    /// A nested call did not answer in time.
    CallTimeout = 22, "call-timeout", 504, 4, "a nested call timed out";
    /// Within the mesh: this host does not lead the partition; `leader` may name who does. Callers retry.
    NotLeader = 23, "not-leader", 503, 14, "not the leader";
    /// Within the mesh: this host does not know the class yet. Callers retry.
    StaleClass = 24, "stale-class", 503, 14, "the class is not known here yet";
    /// A chain of nested calls is as deep as its class allows.
    CallDepth = 26, "call-depth", 500, 8, "the chain of calls is too deep";
    /// A turn was run again and called something else than the first time.
    NondeterministicRerun = 27, "nondeterministic-rerun", 500, 9, "run again, the function called something else";
}

/// Whether a call that failed may have taken effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum Effect {
    /// The code alone says all.
    Unsaid = 0,
    /// It certainly did not run: trying again is safe.
    NotRun = 1,
    /// It may have run.
    Unknown = 2,
}

/// One failed call: what was tried on what, why it failed, and what would help.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Problem {
    /// The stable code.
    #[prost(enumeration = "Code", tag = "1")]
    pub code: i32,
    /// One sentence for people.
    #[prost(string, tag = "2")]
    pub detail: String,
    /// The operation, such as `invoke` or `deploy`.
    #[prost(string, tag = "3")]
    pub operation: String,
    /// What it was done to, such as `Counter/alice.increment`.
    #[prost(string, tag = "4")]
    pub subject: String,
    /// What would help, if anything is known to.
    #[prost(string, tag = "5")]
    pub hint: String,
    /// Whether it may have taken effect.
    #[prost(enumeration = "Effect", tag = "6")]
    pub effect: i32,
    /// When to try again, in milliseconds; 0 says nothing.
    #[prost(uint64, tag = "7")]
    pub retry_after_ms: u64,
    /// The function's own error as JSON text, for `function-error`; otherwise empty.
    #[prost(string, tag = "8")]
    pub error: String,
    /// The wasm backtrace, for `trap`; otherwise empty.
    #[prost(string, tag = "9")]
    pub backtrace: String,
    /// Who leads, for `not-leader`; 0 when unknown.
    #[prost(uint64, tag = "10")]
    pub leader: u64,
    /// The call had failed so before, and did not run again.
    #[prost(bool, tag = "11")]
    pub replayed: bool,
    /// Of a `call-timeout`: nothing that could be done meanwhile answers at once next time, so that a message has used up an
    /// attempt.
    #[prost(bool, tag = "12")]
    pub spent: bool,
}

impl Problem {
    /// A problem with its code and sentence; operation and subject are added where they are known.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code: code as i32, detail: detail.into(), ..Self::default() }
    }

    /// Names the operation and its subject, unless an inner part already did.
    #[must_use]
    pub fn on(mut self, operation: &str, subject: impl fmt::Display) -> Self {
        if self.operation.is_empty() {
            operation.clone_into(&mut self.operation);
            self.subject = subject.to_string();
        }
        self
    }

    /// Adds what would help.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// Says whether it may have taken effect.
    #[must_use]
    pub fn with_effect(mut self, effect: Effect) -> Self {
        self.effect = effect as i32;
        self
    }

    /// Says when to try again.
    #[must_use]
    pub fn retry_after_ms(mut self, ms: u64) -> Self {
        self.retry_after_ms = ms;
        self
    }

    /// The code as its type; a number from a newer version counts as [`Code::Internal`].
    pub fn kind(&self) -> Code {
        Code::try_from(self.code).unwrap_or(Code::Internal)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.operation.is_empty() {
            write!(f, "{} {}: ", self.operation, self.subject)?;
        }
        write!(f, "{} ({})", self.detail, self.kind().as_str())
    }
}

impl std::error::Error for Problem {}

impl From<crate::id::IdError> for Problem {
    fn from(error: crate::id::IdError) -> Self {
        Problem::new(Code::Invalid, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_code_has_its_own_text_and_an_error_status() {
        let texts: HashSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(texts.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!((400..600).contains(&code.http_status()), "{code:?}");
            assert!((1..=16).contains(&code.grpc_code()), "{code:?}");
        }
    }

    #[test]
    fn the_innermost_subject_stays() {
        let problem = Problem::new(Code::NotFound, "no such field").on("get", "A/b.c").on("invoke", "A/b");
        assert_eq!(problem.to_string(), "get A/b.c: no such field (not-found)");
    }
}

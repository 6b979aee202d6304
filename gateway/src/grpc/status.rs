//! Refusals as gRPC has them: the code of the one table in `oprc_mesh::outcome`, and details (google.rpc, AIP-193) that
//! tell what a problem document tells.

use std::collections::HashMap;

use oprc_mesh::outcome::{Code, Effect, Problem};
use prost_types::{Any, Duration};
use tonic::Status;
use tonic_types::pb::{DebugInfo, ErrorInfo, RetryInfo, Status as Rich};

use super::pb;
use crate::problem::{Refusal, hint, public, retry_after_ms};

/// Whose reasons ours are.
const DOMAIN: &str = "oprc";
/// A status goes into a header, and clients take 8 KiB of those altogether: of each text so much, ...
const TEXT_BYTES_MAX: usize = 384;
/// ... and so much of what a function says: its error or its backtrace.
const OWN_BYTES_MAX: usize = 1_536;

/// The status of a refusal that has been told what it was on.
#[allow(clippy::needless_pass_by_value, reason = "it is what `map_err` has")]
pub(super) fn of(refusal: Refusal) -> Status {
    if refusal.problem().kind() == Code::Internal {
        tracing::error!(problem = %refusal.problem(), "a call failed");
    }
    let problem = refusal.problem();
    let code = public(problem.kind());
    let invocation = refusal.invocation_id().unwrap_or_default();
    let mut told = shortened(document(problem, invocation));
    let mut details = vec![any("google.rpc.ErrorInfo", &error_info(&told))];
    if let Some(ms) = retry_after_ms(problem) {
        let retry_delay = Duration::try_from(std::time::Duration::from_millis(ms)).ok();
        details.push(any("google.rpc.RetryInfo", &RetryInfo { retry_delay }));
    }
    let backtrace = std::mem::take(&mut told.backtrace);
    if !backtrace.is_empty() {
        let stack_entries = backtrace.lines().map(str::to_owned).collect();
        details.push(any("google.rpc.DebugInfo", &DebugInfo { stack_entries, ..DebugInfo::default() }));
    }
    let message = told.detail.clone();
    details.push(any("oprc.v1.Problem", &told));
    let rich = Rich { code: code.grpc_code(), message: message.clone(), details };
    let encoded = prost::Message::encode_to_vec(&rich);
    Status::with_details(tonic::Code::from_i32(code.grpc_code()), message, encoded.into())
}

/// A problem as a message, whole.
pub(super) fn document(problem: &Problem, invocation_id: &str) -> pb::Problem {
    let code = public(problem.kind());
    let outcome = match Effect::try_from(problem.effect) {
        Ok(Effect::NotRun) => pb::Outcome::NotRun,
        Ok(Effect::Unknown) => pb::Outcome::Unknown,
        Ok(Effect::Unsaid) | Err(_) => pb::Outcome::Unspecified,
    };
    pb::Problem {
        code: code.as_str().to_owned(),
        status: u32::from(code.http_status()),
        title: code.title().to_owned(),
        detail: problem.detail.clone(),
        operation: problem.operation.clone(),
        subject: problem.subject.clone(),
        hint: hint(problem).to_owned(),
        outcome: outcome as i32,
        error: problem.error.clone(),
        backtrace: problem.backtrace.clone(),
        invocation_id: invocation_id.to_owned(),
        replayed: problem.replayed,
        shortened: false,
    }
}

fn error_info(told: &pb::Problem) -> ErrorInfo {
    let outcome = match told.outcome() {
        pb::Outcome::NotRun => "not-run",
        pb::Outcome::Unknown => "unknown",
        pb::Outcome::Unspecified => "",
    };
    let members = [("operation", told.operation.as_str()), ("subject", &told.subject), ("outcome", outcome)];
    let said = members.into_iter().filter(|(_, text)| !text.is_empty());
    let metadata: HashMap<_, _> = said.map(|(name, text)| (name.to_owned(), text.to_owned())).collect();
    ErrorInfo { reason: told.code.clone(), domain: DOMAIN.to_owned(), metadata }
}

fn any(name: &str, message: &impl prost::Message) -> Any {
    Any { type_url: format!("type.googleapis.com/{name}"), value: message.encode_to_vec() }
}

/// Cut to what goes into a header.
fn shortened(mut told: pb::Problem) -> pb::Problem {
    let texts = [&mut told.detail, &mut told.operation, &mut told.subject, &mut told.hint];
    let mut cut = false;
    for text in texts {
        cut |= shorten(text, TEXT_BYTES_MAX);
    }
    cut |= shorten(&mut told.error, OWN_BYTES_MAX);
    cut |= shorten(&mut told.backtrace, OWN_BYTES_MAX);
    told.shortened = cut;
    told
}

fn shorten(text: &mut String, bytes_max: usize) -> bool {
    let long = text.len() > bytes_max;
    if long {
        text.truncate(text.floor_char_boundary(bytes_max));
    }
    long
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tonic_types::StatusExt as _;

    fn problem_of(status: &Status) -> pb::Problem {
        let rich: Rich = prost::Message::decode(status.details()).unwrap();
        let found = rich.details.iter().find(|any| any.type_url.ends_with("oprc.v1.Problem")).unwrap();
        prost::Message::decode(found.value.as_slice()).unwrap()
    }

    #[test]
    fn every_code_has_its_status_and_details() {
        for &code in Code::ALL {
            let status = of(Refusal::new(code, "why").effect(Effect::NotRun).on("invoke", "A/b.c"));
            let shown = public(code);
            assert_eq!(status.code() as i32, shown.grpc_code(), "{code:?}");
            assert_eq!(status.message(), "why");
            let details = status.get_error_details();
            let info = details.error_info().unwrap();
            assert_eq!((info.reason.as_str(), info.domain.as_str()), (shown.as_str(), DOMAIN));
            for (name, text) in [("operation", "invoke"), ("subject", "A/b.c"), ("outcome", "not-run")] {
                assert_eq!(info.metadata[name], text, "{code:?}");
            }
            assert_eq!(details.retry_info().is_some(), code == Code::Overloaded, "{code:?}");
            let problem = problem_of(&status);
            assert_eq!(problem.status, u32::from(shown.http_status()), "{code:?}");
            assert!(!problem.hint.is_empty() && !problem.title.is_empty(), "{code:?}");
        }
    }

    #[test]
    fn the_functions_own_error_and_its_backtrace_are_carried() {
        let own =
            Problem { error: "{\"a\":1}".into(), replayed: true, ..Problem::new(Code::FunctionError, "no") };
        let problem = problem_of(&of(Refusal::from(own).invocation("i-1")));
        assert_eq!((problem.error.as_str(), problem.invocation_id.as_str()), ("{\"a\":1}", "i-1"));
        assert!(problem.replayed);
        let trap = Problem { backtrace: "0: a\n1: b".into(), ..Problem::new(Code::Trap, "trapped") };
        let status = of(trap.into());
        let details = status.get_error_details();
        assert_eq!(details.debug_info().unwrap().stack_entries, ["0: a", "1: b"]);
        let late = Problem::new(Code::Unavailable, "lost").retry_after_ms(1_500);
        let delay = of(late.into()).get_error_details().retry_info().unwrap().retry_delay;
        assert_eq!(delay, Some(std::time::Duration::from_millis(1_500)));
    }

    #[test]
    fn no_status_is_larger_than_clients_take() {
        let long = "ä".repeat(100_000);
        let worst = Problem {
            error: long.clone(),
            hint: long.clone(),
            ..Problem::new(Code::FunctionError, long.clone()).on(&long, &long)
        };
        let status = of(Refusal::from(worst).invocation(&"k".repeat(256)));
        let header = status.details().len().div_ceil(3) * 4 + status.message().len() * 3;
        assert!(header < 8 * 1024, "{header}");
        assert!(problem_of(&status).shortened);
    }
}

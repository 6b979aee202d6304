//! The host's side of the calls in `oprc:odgm/objects`.

use std::time::Duration;

use oprc_mesh::id::{ClassName, IdError, MethodName, ObjectId};
use oprc_mesh::limits::NESTED_MS_MAX;
use oprc_mesh::outcome::{Code, Problem};
use tokio::time::Instant;

use super::access::Callee;
use super::bindings::oprc::odgm::objects;
use super::state::State;

impl State {
    /// Makes a call for the guest. The turn's clock goes on meanwhile; its processor time does not.
    pub(super) async fn call_other(
        &mut self,
        operation: &str,
        class: &str,
        object: Option<&str>,
        method: &str,
        payload: Vec<u8>,
    ) -> wasmtime::Result<Result<Vec<u8>, objects::Error>> {
        let wrong = |error: IdError| misuse(operation, &error);
        let callee = Callee {
            class: ClassName::parse(class).map_err(wrong)?,
            object: object.map(ObjectId::parse).transpose().map_err(wrong)?,
            method: MethodName::parse(method).map_err(wrong)?,
            payload: payload.into(),
        };
        let until = self.until.min(Instant::now() + Duration::from_millis(NESTED_MS_MAX));
        // left in place when the turn ends while it waits: then that is why it ended
        self.waits_for = Some(callee.to_string());
        let answer = self.access.call(&self.call, callee, until).await;
        self.waits_for = None;
        Ok(answer?.map(Vec::from).map_err(told))
    }
}

/// What the guest sees of a failure.
fn told(problem: Problem) -> objects::Error {
    if problem.kind() == Code::FunctionError {
        return objects::Error::Failed(problem.error);
    }
    let code = problem.kind().as_str().to_owned();
    objects::Error::Problem(objects::Problem { code, detail: problem.detail })
}

fn misuse(operation: &str, error: &IdError) -> Problem {
    Problem::new(Code::Invalid, format!("the function misused {operation}: {error}"))
}

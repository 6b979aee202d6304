//! A server's problem document (RFC 9457 with oprc's members), and how it is told to people.

use std::fmt::{self, Write as _};

use serde_json::{Map, Value};

/// A problem as the server described it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Problem(Map<String, Value>);

impl Problem {
    /// Parses a document; anything without a `code` is not one of ours.
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        let document: Map<String, Value> = serde_json::from_slice(body).ok()?;
        document.get("code")?.as_str()?;
        Some(Self(document))
    }

    /// The document as it came.
    pub(crate) fn document(&self) -> Value {
        Value::Object(self.0.clone())
    }

    /// Everything that helps a person, over several lines.
    pub(crate) fn text(&self) -> String {
        let mut text = self.to_string();
        if let Some(error) = self.0.get("error") {
            let _ = write!(text, "\n  {error}"); // writing to a String cannot fail, here and below
        }
        match self.member("outcome") {
            "unknown" => text.push_str("\nnote: it may have taken effect"),
            "not-run" if self.may_pass() => text.push_str("\nnote: it did not run; trying again is safe"),
            _ => {}
        }
        if !self.member("hint").is_empty() {
            let _ = write!(text, "\nhint: {}", self.member("hint"));
        }
        if !self.member("backtrace").is_empty() {
            let _ = write!(text, "\nbacktrace:\n{}", self.member("backtrace").trim_end());
        }
        text
    }

    /// Whether the same request may succeed later: it is not at fault.
    pub(crate) fn may_pass(&self) -> bool {
        self.0.get("status").and_then(Value::as_u64).is_some_and(|status| status >= 429)
    }

    fn member(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.member("operation").is_empty() {
            write!(f, "{} {}: ", self.member("operation"), self.member("subject"))?;
        }
        write!(f, "{} ({})", self.member("detail"), self.member("code"))
    }
}

impl From<oprc_mesh::outcome::Problem> for Problem {
    /// A problem that this client finds by the server's own rules, before asking it.
    fn from(problem: oprc_mesh::outcome::Problem) -> Self {
        let mut document = Map::new();
        let mut add = |name: &str, text: &str| {
            if !text.is_empty() {
                document.insert(name.to_owned(), text.into());
            }
        };
        add("code", problem.kind().as_str());
        add("title", problem.kind().title());
        add("detail", &problem.detail);
        add("operation", &problem.operation);
        add("subject", &problem.subject);
        add("hint", &problem.hint);
        Self(document)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use oprc_mesh::outcome::Code;

    #[test]
    fn a_trap_is_told_with_hint_and_backtrace() {
        let body = br#"{"code":"trap","operation":"invoke","subject":"Counter/alice.increment","detail":"unreachable",
            "hint":"see the backtrace","backtrace":"0: counter!increment\n","status":500}"#;
        let text = Problem::parse(body).unwrap().text();
        let expected = "invoke Counter/alice.increment: unreachable (trap)\nhint: see the backtrace\nbacktrace:\n0: \
                        counter!increment";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_functions_own_error_and_the_outcome_are_shown() {
        let body = br#"{"code":"function-error","detail":"refused","error":{"overdraft":{"balance":1}}}"#;
        assert_eq!(
            Problem::parse(body).unwrap().text(),
            "refused (function-error)\n  {\"overdraft\":{\"balance\":1}}"
        );
        let body = br#"{"code":"unavailable","detail":"lost","outcome":"unknown"}"#;
        assert!(Problem::parse(body).unwrap().text().contains("may have taken effect"));
    }

    #[test]
    fn only_what_may_pass_is_to_be_tried_again() {
        let text = |status| {
            let body = format!(r#"{{"code":"x","detail":"y","outcome":"not-run","status":{status}}}"#);
            Problem::parse(body.as_bytes()).unwrap().text()
        };
        assert!(text(503).contains("trying again is safe"));
        assert!(!text(400).contains("trying again"));
    }

    #[test]
    fn other_documents_are_not_taken_for_ours() {
        for body in [&b""[..], b"<html>", b"{}", b"[]", br#"{"code":5}"#] {
            assert_eq!(Problem::parse(body), None);
        }
    }

    #[test]
    fn a_problem_found_here_reads_like_the_servers() {
        let problem = oprc_mesh::outcome::Problem::new(Code::Invalid, "no").on("parse", "manifest");
        assert_eq!(Problem::from(problem).text(), "parse manifest: no (invalid)");
    }
}

//! What a class promises its callers, and whether a new deployment keeps it: every method that the version before it has
//! takes and gives the same types.

use std::fmt::Write as _;

use oprc_mesh::catalog::{Class, Method};
use oprc_mesh::outcome::{Code, Problem};

use crate::record::DeployRecord;

/// Broken methods that a refusal names, at the most.
const NAMED_MAX: usize = 100;

/// Refuses a deployment over `before` that its callers would notice.
///
/// A method is broken when it is gone, when its parameters (their names too: callers name them) or its result change, or
/// when it only read and does so no more: stale reads and other methods that only read could not call it. New methods,
/// and methods that now only read, break nobody. The generic handler takes any name, so that giving it up breaks them all;
/// what it does with each name cannot be seen, so that a class that takes it up gives up its signatures. So it is with HTTP
/// that a class serves.
pub(super) fn check(before: &Class, deploy: &DeployRecord) -> Result<(), Problem> {
    let mut broken: Vec<String> =
        before.methods.iter().filter_map(|method| change(method, &deploy.methods)).collect();
    if before.generic && !deploy.generic {
        broken.push("the handler, which takes any method, is gone".to_owned());
    }
    if before.serves_http && !deploy.serves_http {
        broken.push("what it serves over HTTP is gone".to_owned());
    }
    if broken.is_empty() {
        return Ok(());
    }
    let detail = format!(
        "callers of version {} of class {} would break: {}",
        before.version,
        before.name,
        listed(&broken)
    );
    Err(Problem::new(Code::Conflict, detail).hint(
        "keep these methods and add new ones beside them, or deploy with ?force=true (oprc deploy --force) once nobody \
         calls them",
    ))
}

/// What becomes of a method that callers would notice.
fn change(before: &Method, after: &[Method]) -> Option<String> {
    let signature = before.signature();
    let Some(now) = after.iter().find(|method| method.name == before.name) else {
        return Some(format!("{signature} is gone"));
    };
    if now.params != before.params || now.result != before.result {
        return Some(format!("{signature} becomes {}", now.signature()));
    }
    (before.readonly && !now.readonly).then(|| format!("{} is no longer read-only", before.name))
}

fn listed(broken: &[String]) -> String {
    let mut text = broken.iter().take(NAMED_MAX).map(String::as_str).collect::<Vec<_>>().join("; ");
    if broken.len() > NAMED_MAX {
        let _ = write!(text, "; and {} more", broken.len() - NAMED_MAX); // writing to a String cannot fail
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use oprc_mesh::catalog::Param;

    fn method(name: &str, params: &[(&str, &str)], result: &str) -> Method {
        let param = |(name, ty): &(&str, &str)| Param { name: (*name).into(), ty: (*ty).into() };
        let params = params.iter().map(param).collect();
        Method { name: name.into(), params, result: result.into(), readonly: false }
    }

    fn add() -> Method {
        method("add", &[("by", "u64")], "u64")
    }

    fn value() -> Method {
        Method { readonly: true, ..method("value", &[], "u64") }
    }

    /// What a deployment of `after` over `add` and `value` is refused for.
    fn refused(after: Vec<Method>) -> Option<String> {
        let before =
            Class { name: "C".into(), version: 3, methods: vec![add(), value()], ..Class::default() };
        let deploy = DeployRecord { methods: after, ..DeployRecord::default() };
        let problem = check(&before, &deploy).err()?;
        assert_eq!(problem.kind(), Code::Conflict);
        Some(problem.detail)
    }

    #[test]
    fn what_callers_do_not_notice_is_taken() {
        assert_eq!(refused(vec![add(), value()]), None);
        assert_eq!(refused(vec![add(), method("more", &[], ""), value()]), None);
        assert_eq!(refused(vec![Method { readonly: true, ..add() }, value()]), None);
    }

    #[test]
    fn every_broken_method_is_named_with_what_becomes_of_it() {
        let says = refused(vec![]).unwrap();
        assert!(says.contains("version 3 of class C"), "{says}");
        assert!(
            says.ends_with(": add: func(by: u64) -> u64 is gone; value: func() -> u64 is gone"),
            "{says}"
        );
        for (changed, becomes) in [
            (method("add", &[("by", "u32")], "u64"), "add: func(by: u32) -> u64"),
            (method("add", &[("n", "u64")], "u64"), "add: func(n: u64) -> u64"),
            (method("add", &[], "u64"), "add: func() -> u64"),
            (method("add", &[("by", "u64")], ""), "add: func(by: u64)"),
        ] {
            let says = refused(vec![changed, value()]).unwrap();
            assert!(says.ends_with(&format!(": add: func(by: u64) -> u64 becomes {becomes}")), "{says}");
        }
        let says = refused(vec![add(), Method { readonly: false, ..value() }]).unwrap();
        assert!(says.ends_with(": value is no longer read-only"), "{says}");
    }

    #[test]
    fn a_handler_that_is_given_up_breaks_its_callers() {
        let before = Class { name: "C".into(), version: 1, generic: true, ..Class::default() };
        let typed = DeployRecord { methods: vec![add()], ..DeployRecord::default() };
        assert!(check(&before, &typed).unwrap_err().detail.contains("any method"));
        let generic = DeployRecord { generic: true, ..DeployRecord::default() };
        assert!(check(&before, &generic).is_ok());
    }

    #[test]
    fn http_that_is_served_no_more_breaks_its_callers() {
        let before = Class { name: "C".into(), version: 1, serves_http: true, ..Class::default() };
        assert!(check(&before, &DeployRecord::default()).unwrap_err().detail.contains("over HTTP"));
        assert!(check(&before, &DeployRecord { serves_http: true, ..DeployRecord::default() }).is_ok());
    }

    #[test]
    fn a_refusal_stays_short() {
        let methods = (0..=NAMED_MAX).map(|n| method(&format!("m{n}"), &[], "")).collect();
        let before = Class { methods, ..Class::default() };
        let problem = check(&before, &DeployRecord::default()).unwrap_err();
        assert!(problem.detail.ends_with("m99: func() is gone; and 1 more"), "{}", problem.detail);
    }
}

//! The table of resources: which paths exist, which methods each takes, and what each method does there. A path is
//! split and parsed once, into typed identifiers; handlers never see it.
//!
//! Made by hand rather than with axum's router: a slice pattern per path is the table itself, costs no allocation and
//! no boxed service per request, and gives 404, 405 with `Allow` and every malformed identifier the one problem form.

use std::fmt;

use hyper::Method;
use oprc_mesh::id::{ClassName, FieldKey, KeyName, MethodName, NodeId, ObjectId};
use oprc_mesh::outcome::Code;

use crate::address;
use crate::dead::DeadWish;
use crate::invocation_id::InvocationId;
use crate::nodes::Wish;
use crate::problem::Refusal;

/// Segments of the longest path, plus one to notice longer ones.
const SEGMENTS_MAX: usize = 9;

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Resource {
    Health,
    Ready,
    Metrics,
    /// The gateway's OpenAPI document.
    Document,
    Cluster,
    Node(NodeId, Wish),
    Invoke,
    Invocation(InvocationId),
    Classes,
    Class(ClassName),
    Versions(ClassName),
    /// The class's OpenAPI document.
    ClassDocument(ClassName),
    Rollback(ClassName),
    Promote(ClassName),
    /// What its guests print.
    Logs(ClassName),
    DeadLetters(ClassName),
    ChangeDeadLetters(ClassName, DeadWish),
    Function(ClassName, MethodName),
    /// What the class serves by its own handler: the path below its place, as it came.
    Http(ClassName, String),
    Objects(ClassName),
    Object(ClassName, ObjectId),
    Call(ClassName, ObjectId, MethodName),
    Fields(ClassName, ObjectId),
    Field(ClassName, ObjectId, FieldKey),
    ObjectEvents(ClassName, ObjectId),
    ClassEvents(ClassName),
    Keys,
    Key(KeyName),
    RotateKey(KeyName),
}

/// A method, with HEAD as GET: whether the body is sent is the dispatcher's affair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Put,
    Post,
    Patch,
    Delete,
}

impl Verb {
    fn of(method: &Method) -> Option<Self> {
        match *method {
            Method::GET | Method::HEAD => Some(Self::Get),
            Method::PUT => Some(Self::Put),
            Method::POST => Some(Self::Post),
            Method::PATCH => Some(Self::Patch),
            Method::DELETE => Some(Self::Delete),
            _ => None,
        }
    }

    const fn names(self) -> &'static str {
        match self {
            Self::Get => "GET, HEAD",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// Finds the resource that `path` names.
///
/// # Errors
/// `not-found` for a path that is none, `invalid` for an identifier that cannot be.
pub(crate) fn find(path: &str) -> Result<Resource, Refusal> {
    if let Some((class, below)) = served_by_class(path) {
        return Ok(Resource::Http(address::class(class)?, below.to_owned()));
    }
    let mut segments = [""; SEGMENTS_MAX];
    let mut count = 0;
    for segment in path.strip_prefix('/').unwrap_or(path).split('/') {
        if count == SEGMENTS_MAX {
            return Err(no_such_path());
        }
        segments[count] = segment;
        count += 1;
    }
    let class = address::class;
    Ok(match &segments[..count] {
        ["healthz"] => Resource::Health,
        ["readyz"] => Resource::Ready,
        ["metrics"] => Resource::Metrics,
        ["openapi.json"] => Resource::Document,
        ["api", "v1", rest @ ..] => match rest {
            ["classes", c, "objects", o, "invoke", m] => {
                Resource::Call(class(c)?, address::object(o)?, address::method(m)?)
            }
            ["classes", c, "objects", o] => Resource::Object(class(c)?, address::object(o)?),
            ["classes", c, "objects", o, "fields", f] => {
                Resource::Field(class(c)?, address::object(o)?, address::field(f)?)
            }
            ["classes", c, "objects", o, "fields"] => Resource::Fields(class(c)?, address::object(o)?),
            ["classes", c, "objects", o, "events"] => Resource::ObjectEvents(class(c)?, address::object(o)?),
            ["classes", c, "events"] => Resource::ClassEvents(class(c)?),
            ["classes", c, "functions", m] => Resource::Function(class(c)?, address::method(m)?),
            ["invoke"] => Resource::Invoke,
            ["invocations", id] => Resource::Invocation(InvocationId::parse(id)?),
            ["classes", c, "objects"] => Resource::Objects(class(c)?),
            ["classes"] => Resource::Classes,
            ["classes", c] => Resource::Class(class(c)?),
            ["classes", c, "versions"] => Resource::Versions(class(c)?),
            ["classes", c, "openapi.json"] => Resource::ClassDocument(class(c)?),
            ["classes", c, "rollback"] => Resource::Rollback(class(c)?),
            ["classes", c, "promote"] => Resource::Promote(class(c)?),
            ["classes", c, "logs"] => Resource::Logs(class(c)?),
            ["classes", c, "dead-letters"] => Resource::DeadLetters(class(c)?),
            ["classes", c, "dead-letters", wish] => {
                let wish = DeadWish::parse(wish).ok_or_else(no_such_path)?;
                Resource::ChangeDeadLetters(class(c)?, wish)
            }
            ["keys"] => Resource::Keys,
            ["keys", k] => Resource::Key(address::key(k)?),
            ["keys", k, "rotate"] => Resource::RotateKey(address::key(k)?),
            ["cluster"] => Resource::Cluster,
            ["cluster", "nodes", n, wish] => {
                let wish = Wish::parse(wish).ok_or_else(no_such_path)?;
                Resource::Node(address::node(n)?, wish)
            }
            _ => return Err(no_such_path()),
        },
        _ => return Err(no_such_path()),
    })
}

/// `/api/v1/classes/{class}/http` and all below it, of which the class alone knows what there is: the class, and what follows,
/// from its slash on.
fn served_by_class(path: &str) -> Option<(&str, &str)> {
    let (class, rest) = path.strip_prefix("/api/v1/classes/")?.split_once('/')?;
    match rest.strip_prefix("http")? {
        "" => Some((class, "/")),
        below => below.starts_with('/').then_some((class, below)),
    }
}

fn no_such_path() -> Refusal {
    Refusal::new(Code::NotFound, "no resource has this path")
        .hint("the API begins at /api/v1, for example /api/v1/classes; a slash inside a name is written %2F")
}

/// What a class serves takes these methods, and any other.
const SERVED: [(Verb, &str); 5] = [
    (Verb::Get, "serve"),
    (Verb::Put, "serve"),
    (Verb::Post, "serve"),
    (Verb::Patch, "serve"),
    (Verb::Delete, "serve"),
];

impl Resource {
    /// What each method that the resource takes does there.
    pub(crate) const fn operations(&self) -> &'static [(Verb, &'static str)] {
        match self {
            Self::Health => &[(Verb::Get, "health")],
            Self::Ready => &[(Verb::Get, "readiness")],
            Self::Metrics => &[(Verb::Get, "read metrics")],
            Self::Document | Self::ClassDocument(..) => &[(Verb::Get, "read document")],
            Self::Cluster => &[(Verb::Get, "read cluster")],
            Self::Invocation(..) => &[(Verb::Get, "read invocation")],
            Self::Node(..) => &[(Verb::Post, "change host")],
            Self::Classes => &[(Verb::Get, "list classes")],
            Self::Class(..) => {
                &[(Verb::Get, "describe"), (Verb::Put, "deploy"), (Verb::Delete, "remove class")]
            }
            Self::Keys => &[(Verb::Get, "list keys"), (Verb::Post, "create key")],
            Self::Key(..) => &[(Verb::Delete, "revoke key")],
            Self::RotateKey(..) => &[(Verb::Post, "rotate key")],
            Self::Versions(..) => &[(Verb::Get, "list versions")],
            Self::Rollback(..) => &[(Verb::Post, "roll back")],
            Self::Promote(..) => &[(Verb::Post, "promote")],
            Self::Logs(..) => &[(Verb::Get, "read logs")],
            Self::DeadLetters(..) => &[(Verb::Get, "list dead letters")],
            Self::ChangeDeadLetters(..) => &[(Verb::Post, "change dead letters")],
            Self::Http(..) => &SERVED,
            Self::Invoke | Self::Function(..) | Self::Call(..) => &[(Verb::Post, "invoke")],
            Self::Objects(..) => &[(Verb::Get, "list objects")],
            Self::Object(..) => &[
                (Verb::Get, "read object"),
                (Verb::Put, "replace object"),
                (Verb::Patch, "change object"),
                (Verb::Delete, "delete object"),
            ],
            Self::Fields(..) => &[(Verb::Get, "list fields")],
            Self::ObjectEvents(..) | Self::ClassEvents(..) => &[(Verb::Get, "watch")],
            Self::Field(..) => {
                &[(Verb::Get, "read field"), (Verb::Put, "write field"), (Verb::Delete, "delete field")]
            }
        }
    }

    /// The verb of `method` and what it does here.
    ///
    /// # Errors
    /// 405 with `Allow`.
    pub(crate) fn operation(&self, method: &Method) -> Result<(Verb, &'static str), Refusal> {
        let verb = match self {
            // what a method means there only the class knows
            Self::Http(..) => Verb::of(method).or(Some(Verb::Post)),
            _ => Verb::of(method),
        };
        let found = self.operations().iter().find(|(taken, _)| Some(*taken) == verb);
        found.copied().ok_or_else(|| {
            let allow: Vec<_> = self.operations().iter().map(|(verb, _)| verb.names()).collect();
            Refusal::method_not_allowed(method, allow.join(", "))
        })
    }
}

/// The subject of problems: what the resource is about.
impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Health | Self::Ready | Self::Metrics | Self::Document => f.write_str("gateway"),
            Self::Cluster => f.write_str("cluster"),
            Self::Node(node, _) => write!(f, "{node}"),
            Self::Keys => f.write_str("keys"),
            Self::Key(key) | Self::RotateKey(key) => write!(f, "{key}"),
            Self::Invoke => f.write_str("invoke"),
            Self::Invocation(id) => write!(f, "{id}"),
            Self::Classes => f.write_str("classes"),
            Self::Class(class)
            | Self::Versions(class)
            | Self::ClassDocument(class)
            | Self::Rollback(class)
            | Self::Promote(class)
            | Self::Logs(class)
            | Self::DeadLetters(class)
            | Self::ChangeDeadLetters(class, _)
            | Self::Objects(class)
            | Self::ClassEvents(class) => write!(f, "{class}"),
            Self::Function(class, function) => write!(f, "{class}.{function}"),
            Self::Http(class, _) => write!(f, "{class}.http"),
            Self::Object(class, object) | Self::Fields(class, object) | Self::ObjectEvents(class, object) => {
                write!(f, "{class}/{object}")
            }
            Self::Call(class, object, method) => write!(f, "{class}/{object}.{method}"),
            Self::Field(class, object, key) => write!(f, "{class}/{object}.{key}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn subject(path: &str) -> String {
        find(path).unwrap().to_string()
    }

    #[test]
    fn every_path_of_the_contract_is_there() {
        for (path, methods) in [
            ("/healthz", "GET, HEAD"),
            ("/readyz", "GET, HEAD"),
            ("/metrics", "GET, HEAD"),
            ("/openapi.json", "GET, HEAD"),
            ("/api/v1/cluster", "GET, HEAD"),
            ("/api/v1/cluster/nodes/00000000000000ab/drain", "POST"),
            ("/api/v1/cluster/nodes/ab/undrain", "POST"),
            ("/api/v1/cluster/nodes/ab/remove", "POST"),
            ("/api/v1/invoke", "POST"),
            ("/api/v1/invocations/ATEyMzQ1Njc4QwBvAGs", "GET, HEAD"),
            ("/api/v1/classes", "GET, HEAD"),
            ("/api/v1/classes/A", "GET, HEAD, PUT, DELETE"),
            ("/api/v1/classes/A/versions", "GET, HEAD"),
            ("/api/v1/classes/A/openapi.json", "GET, HEAD"),
            ("/api/v1/classes/A/rollback", "POST"),
            ("/api/v1/classes/A/promote", "POST"),
            ("/api/v1/classes/A/logs", "GET, HEAD"),
            ("/api/v1/classes/A/dead-letters", "GET, HEAD"),
            ("/api/v1/classes/A/dead-letters/retry", "POST"),
            ("/api/v1/classes/A/dead-letters/purge", "POST"),
            ("/api/v1/classes/A/functions/f", "POST"),
            ("/api/v1/classes/A/objects", "GET, HEAD"),
            ("/api/v1/classes/A/objects/b", "GET, HEAD, PUT, PATCH, DELETE"),
            ("/api/v1/classes/A/objects/b/invoke/m", "POST"),
            ("/api/v1/classes/A/objects/b/fields", "GET, HEAD"),
            ("/api/v1/classes/A/objects/b/fields/k", "GET, HEAD, PUT, DELETE"),
            ("/api/v1/classes/A/objects/b/events", "GET, HEAD"),
            ("/api/v1/classes/A/events", "GET, HEAD"),
        ] {
            let resource = find(path).unwrap();
            let allow: Vec<_> = resource.operations().iter().map(|(verb, _)| verb.names()).collect();
            assert_eq!(allow.join(", "), methods, "{path}");
            assert_eq!(resource.operation(&Method::HEAD).is_ok(), methods.contains("HEAD"), "{path}");
            assert!(resource.operation(&Method::OPTIONS).is_err());
        }
    }

    #[test]
    fn all_below_a_class_is_the_classs_own() {
        let below = |path: &str| match find(path).unwrap() {
            Resource::Http(class, below) => format!("{class} {below}"),
            other => panic!("{path}: {other:?}"),
        };
        assert_eq!(below("/api/v1/classes/A/http"), "A /");
        assert_eq!(below("/api/v1/classes/A/http/"), "A /");
        let long = "/x".repeat(40);
        assert_eq!(below(&format!("/api/v1/classes/A/http{long}/../%2F//")), format!("A {long}/../%2F//"));
        for other in ["/api/v1/classes/A/https", "/api/v1/classes/A/httpx/y", "/api/v1/classes//http"] {
            assert!(!matches!(find(other), Ok(Resource::Http(..))), "{other}");
        }
        let served = find("/api/v1/classes/A/http/x").unwrap();
        for method in ["GET", "HEAD", "OPTIONS", "PROPFIND", "TRACE"] {
            assert!(served.operation(&Method::from_bytes(method.as_bytes()).unwrap()).is_ok(), "{method}");
        }
    }

    #[test]
    fn any_other_path_is_not_found() {
        let long = format!("/api/v1{}", "/x".repeat(40));
        for path in ["/", "", "//", "/api", "/api/v1", "/api/v1/", "/api/v2/classes", "/healthz/", &long] {
            assert_eq!(find(path).unwrap_err().problem().kind(), Code::NotFound, "{path}");
        }
        for path in ["/api/v1/classes/A/objects/b/fields/k/", "/api/v1/classes/A/objects/b/fields/k/l"] {
            assert_eq!(find(path).unwrap_err().problem().kind(), Code::NotFound, "{path}");
        }
    }

    #[test]
    fn identifiers_are_parsed_and_name_the_subject() {
        assert_eq!(subject("/api/v1/classes/A/objects/b/fields/c%2Fd"), "A/b.c/d");
        assert_eq!(subject("/api/v1/classes/A/objects/invoke/invoke/invoke"), "A/invoke.invoke");
        assert_eq!(subject("/api/v1/classes/A/functions/f"), "A.f");
        assert_eq!(subject("/api/v1/cluster/nodes/ab/drain"), "00000000000000ab");
        for path in [
            "/api/v1/classes/",
            "/api/v1/classes/1",
            "/api/v1/classes/A/objects/.b",
            "/api/v1/cluster/nodes/xyz/drain",
            "/api/v1/cluster/nodes/0/drain",
        ] {
            assert_eq!(find(path).unwrap_err().problem().kind(), Code::Invalid, "{path}");
        }
    }
}

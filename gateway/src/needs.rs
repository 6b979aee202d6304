//! What each operation needs to be allowed.

use oprc_mesh::access::Action;

use crate::access::Need;
use crate::router::{Resource, Verb};

/// What doing `verb` to `resource` needs.
pub(crate) const fn needed(resource: &Resource, verb: Verb) -> Need<'_> {
    use Action::{Admin, Deploy, Invoke, Read};
    match (resource, verb) {
        (Resource::Health | Resource::Ready | Resource::Document, _) => Need::Nothing,
        (Resource::Classes | Resource::Invoke, _) => Need::Somebody,
        (Resource::Class(class), Verb::Get)
        | (Resource::Versions(class) | Resource::ClassDocument(class), _) => Need::AnyIn(class),
        // what guests print may be what no caller is given: see `logs`
        (
            Resource::Class(class)
            | Resource::Rollback(class)
            | Resource::Promote(class)
            | Resource::Logs(class),
            _,
        ) => Need::In(Deploy, class),
        (Resource::Invocation(id), _) => Need::In(Invoke, &id.class),
        (Resource::Object(class, _) | Resource::Field(class, ..), Verb::Get)
        | (
            Resource::Objects(class)
            | Resource::Fields(class, _)
            | Resource::ObjectEvents(class, _)
            | Resource::ClassEvents(class)
            | Resource::DeadLetters(class),
            _,
        ) => Need::In(Read, class),
        // a write from outside is a call of the object as it were
        (
            Resource::Function(class, _)
            | Resource::Call(class, ..)
            | Resource::Http(class, _)
            | Resource::Object(class, _)
            | Resource::Field(class, ..),
            _,
        ) => Need::In(Invoke, class),
        // it names classes
        (Resource::Metrics, _) => Need::Everywhere(Read),
        (
            Resource::Cluster
            | Resource::Node(..)
            | Resource::ChangeDeadLetters(..)
            | Resource::Keys
            | Resource::Key(_)
            | Resource::RotateKey(_),
            _,
        ) => Need::Everywhere(Admin),
    }
}

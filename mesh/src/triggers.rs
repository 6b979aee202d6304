//! Triggers of a class as its manifest writes them: `[[class.trigger]]`.

use serde::Deserialize;

use crate::catalog::{ClassSettings, Method, Trigger, TriggerEvent};
use crate::id::{ClassName, FieldKey, MethodName, ObjectId};
use crate::outcome::{Code, Problem};

/// Triggers that a class may have.
pub const TRIGGERS_MAX: usize = 64;
/// Stands in a trigger's `object` for the id of the object that changed.
pub const SAME_ID: &str = "$id";

/// One `[[class.trigger]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TriggerTable {
    on: Vec<String>,
    field: Option<String>,
    method: Option<String>,
    call: CallTable,
    #[serde(default)]
    values: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CallTable {
    class: String,
    object: Option<String>,
    method: String,
}

/// Checks the triggers of a manifest.
///
/// # Errors
/// `invalid` with the number of the trigger and what is wrong with it.
pub(crate) fn triggers(tables: Vec<TriggerTable>) -> Result<Vec<Trigger>, Problem> {
    if tables.len() > TRIGGERS_MAX {
        return Err(invalid(format!("{} triggers; a class may have {TRIGGERS_MAX}", tables.len())));
    }
    let numbered = tables.into_iter().zip(1..);
    numbered
        .map(|(table, number)| trigger(table).map_err(|why| invalid(format!("trigger {number}: {why}"))))
        .collect()
}

fn trigger(table: TriggerTable) -> Result<Trigger, String> {
    let TriggerTable { on, field, method, call, values } = table;
    let mut events: Vec<TriggerEvent> = on.iter().map(|name| event(name)).collect::<Result<_, _>>()?;
    events.sort_unstable();
    events.dedup();
    let about_fields = events.iter().filter(|event| event.is_of_field()).count();
    let subject = match (field, method, about_fields) {
        _ if events.is_empty() => return Err("`on` lists no event".into()),
        (Some(field), None, n) if n == events.len() => {
            checked(&field, |text| FieldKey::parse(text).map(drop))?
        }
        (None, Some(method), 0) => checked(&method, |text| MethodName::parse(text).map(drop))?,
        _ => {
            return Err(
                "`field` belongs to the events create, update and delete, `method` to complete and error; a \
                        trigger has one of the two"
                    .into(),
            );
        }
    };
    ClassName::parse(&call.class).map_err(|error| format!("call: {error}"))?;
    MethodName::parse(&call.method).map_err(|error| format!("call: {error}"))?;
    if let Some(object) = call.object.as_deref().filter(|object| *object != SAME_ID) {
        ObjectId::parse(object).map_err(|error| format!("call: {error}"))?;
    }
    let on = events.into_iter().map(|event| event as i32).collect();
    Ok(Trigger { on, subject, class: call.class, object: call.object, method: call.method, values })
}

/// Checks the triggers of a class against the methods of its component.
///
/// # Errors
/// `invalid-component` for a trigger that could never fire, or whose method in the same class is not there.
pub fn check(
    class: &ClassName,
    settings: &ClassSettings,
    methods: &[Method],
    generic: bool,
) -> Result<(), Problem> {
    let wrong = |detail: String| Err(Problem::new(Code::InvalidComponent, detail).on("deploy", class));
    for (trigger, number) in settings.triggers.iter().zip(1..) {
        let of_method = trigger.listens_to(TriggerEvent::Complete) || trigger.listens_to(TriggerEvent::Error);
        let (subject, named) = (&trigger.subject, |name: &str| matches(&trigger.subject, name));
        let mutating = methods.iter().any(|method| named(&method.name) && !method.readonly);
        if of_method && settings.readonly.iter().any(|name| name == subject) {
            return wrong(format!(
                "trigger {number}: method `{subject}` only reads, so nothing is committed that could tell of it"
            ));
        }
        if of_method && !generic && !mutating {
            return wrong(format!("trigger {number}: no method that may write is called `{subject}`"));
        }
        let own = trigger.class == class.as_str() && !generic;
        if own && !methods.iter().any(|method| method.name == trigger.method) {
            return wrong(format!(
                "trigger {number} calls `{}`, but the component has no such method",
                trigger.method
            ));
        }
    }
    Ok(())
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => pattern == name,
    }
}

/// A name, or the beginning of names with a `*` after it, which may be empty.
fn checked(pattern: &str, parse: impl Fn(&str) -> Result<(), crate::id::IdError>) -> Result<String, String> {
    let name = pattern.strip_suffix('*').unwrap_or(pattern);
    if !(name.is_empty() && pattern == "*") {
        parse(name).map_err(|error| error.to_string())?;
    }
    Ok(pattern.to_owned())
}

fn event(name: &str) -> Result<TriggerEvent, String> {
    TriggerEvent::ALL.into_iter().find(|event| event.as_str() == name).ok_or_else(|| {
        let known = TriggerEvent::ALL.map(TriggerEvent::as_str).join(", ");
        format!("unknown event {name:?}; the events are {known}")
    })
}

fn invalid(detail: String) -> Problem {
    Problem::new(Code::Invalid, detail).on("parse", "manifest")
}

impl TriggerEvent {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Create, Self::Update, Self::Delete, Self::Complete, Self::Error];

    /// Its name in manifests and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Complete => "complete",
            Self::Error => "error",
        }
    }

    /// Whether it is about a field; otherwise it is about a method.
    pub const fn is_of_field(self) -> bool {
        matches!(self, Self::Create | Self::Update | Self::Delete)
    }
}

impl Trigger {
    /// Whether it fires on `event` of the field or method `name`.
    pub fn fires_on(&self, event: TriggerEvent, name: &str) -> bool {
        matches(&self.subject, name) && self.listens_to(event)
    }

    /// Whether it fires on `event` of some field or method.
    pub fn listens_to(&self, event: TriggerEvent) -> bool {
        self.on.contains(&(event as i32))
    }
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::catalog::{ClassSettings, Method, TriggerEvent};
    use crate::id::ClassName;
    use crate::manifest::Manifest;

    fn parse(trigger: &str) -> Result<Manifest, String> {
        Manifest::parse(&format!("[[class.trigger]]\n{trigger}")).map_err(|problem| problem.to_string())
    }

    fn error(trigger: &str) -> String {
        parse(trigger).unwrap_err()
    }

    const CALL: &str = "call = { class = \"Audit\", object = \"log\", method = \"record\" }";

    #[test]
    fn a_trigger_fires_on_its_events_and_names_only() {
        let text =
            format!("on = [\"update\", \"create\", \"update\"]\nfield = \"item/*\"\nvalues = true\n{CALL}");
        let trigger = parse(&text).unwrap().settings.triggers.remove(0);
        assert_eq!((trigger.class.as_str(), trigger.object.as_deref()), ("Audit", Some("log")));
        assert!(trigger.values && trigger.on.len() == 2);
        assert!(
            trigger.fires_on(TriggerEvent::Create, "item/1")
                && trigger.fires_on(TriggerEvent::Update, "item/")
        );
        assert!(
            !trigger.fires_on(TriggerEvent::Delete, "item/1")
                && !trigger.fires_on(TriggerEvent::Create, "item")
        );
        let exact = parse(&format!("on = [\"error\"]\nmethod = \"pay\"\n{CALL}"))
            .unwrap()
            .settings
            .triggers
            .remove(0);
        assert!(
            exact.fires_on(TriggerEvent::Error, "pay") && !exact.fires_on(TriggerEvent::Error, "payment")
        );
        let all = parse(&format!("on = [\"complete\"]\nmethod = \"*\"\n{CALL}"))
            .unwrap()
            .settings
            .triggers
            .remove(0);
        assert!(all.fires_on(TriggerEvent::Complete, "anything"));
        let function = "on = [\"delete\"]\nfield = \"a\"\ncall = { class = \"C\", method = \"f\" }";
        assert_eq!(parse(function).unwrap().settings.triggers[0].object, None);
        let same =
            "on = [\"delete\"]\nfield = \"a\"\ncall = { class = \"C\", object = \"$id\", method = \"f\" }";
        assert_eq!(parse(same).unwrap().settings.triggers[0].object.as_deref(), Some("$id"));
    }

    #[test]
    fn a_trigger_must_be_able_to_fire() {
        let class = ClassName::parse("Own").unwrap();
        let method = |name: &str, readonly| Method { name: name.into(), readonly, ..Method::default() };
        let methods = [method("pay", false), method("value", true)];
        let checked = |trigger: &str, generic| {
            let settings =
                ClassSettings { readonly: vec!["value".into()], ..parse(trigger).unwrap().settings };
            check(&class, &settings, &methods, generic).map_err(|problem| problem.to_string())
        };
        let on = |method: &str| format!("on = [\"complete\"]\nmethod = \"{method}\"\n{CALL}");
        assert!(checked(&on("pay"), false).is_ok() && checked(&on("p*"), false).is_ok());
        assert!(checked(&on("value"), false).unwrap_err().contains("only reads"));
        assert!(checked(&on("v*"), false).unwrap_err().contains("no method"));
        assert!(checked(&on("nothing"), false).unwrap_err().contains("`nothing`"));
        assert!(checked(&on("nothing"), true).is_ok(), "a handler takes any");
        let own = |method: &str| {
            format!("on = [\"create\"]\nfield = \"a\"\ncall = {{ class = \"Own\", method = \"{method}\" }}")
        };
        assert!(checked(&own("pay"), false).is_ok());
        assert!(checked(&own("other"), false).unwrap_err().contains("`other`"));
    }

    #[test]
    fn what_is_wrong_with_a_trigger_is_said() {
        assert!(error(&format!("on = [\"change\"]\nfield = \"a\"\n{CALL}")).contains("create, update"));
        assert!(error(&format!("on = []\nfield = \"a\"\n{CALL}")).contains("no event"));
        for mixed in [
            "on = [\"create\", \"complete\"]\nfield = \"a\"",
            "on = [\"create\"]\nmethod = \"a\"",
            "on = [\"create\"]",
            "on = [\"error\"]\nfield = \"a\"",
            "on = [\"error\"]\nfield = \"a\"\nmethod = \"b\"",
        ] {
            assert!(error(&format!("{mixed}\n{CALL}")).contains("trigger 1: `field` belongs to"), "{mixed}");
        }
        assert!(error(&format!("on = [\"error\"]\nmethod = \"9\"\n{CALL}")).contains("method"));
        assert!(error(&format!("on = [\"create\"]\nfield = \"\"\n{CALL}")).contains("field key"));
        assert!(error("on = [\"create\"]\nfield = \"a\"").contains("call"));
        let target = |call: &str| error(&format!("on = [\"create\"]\nfield = \"a\"\ncall = {{ {call} }}"));
        assert!(target("class = \"9\", method = \"m\"").contains("class name"));
        assert!(target("class = \"C\", method = \"m\", object = \"$x\"").contains("object id"));
        assert!(target("class = \"C\", method = \"m\", key = \"k\"").contains("key"));
        let many = format!("on = [\"create\"]\nfield = \"a\"\n{CALL}\n[[class.trigger]]\n").repeat(65);
        assert!(error(&format!("{many}on = [\"create\"]\nfield = \"a\"\n{CALL}")).contains("64"));
    }
}

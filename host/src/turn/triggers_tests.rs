//! What triggers send for events.

#![allow(clippy::unwrap_used)]

use oprc_mesh::manifest::Manifest;
use serde_json::{Value, json};

use super::*;

fn class(triggers: &str) -> Class {
    let manifest = format!("[class.limits]\nsends = 3\nwrite_kib = 1500\n{triggers}");
    Class { name: "Order".into(), settings: Manifest::parse(&manifest).unwrap().settings, ..Class::default() }
}

fn trigger(on: &str, subject: &str, values: bool, object: &str) -> String {
    format!(
        "[[class.trigger]]\non = [{on}]\n{subject}\nvalues = {values}\ncall = {{ class = \"Audit\", {object} method = \"record\" }}\n"
    )
}

fn event(event: TriggerEvent, subject: &str, old: Option<&'static str>, new: Option<&'static str>) -> Event {
    let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
    let (old, new) = (old.map(bytes), new.map(bytes));
    Event { kind: event, subject: subject.into(), old, new, problem: None }
}

fn fired(class: &Class, events: &[Event]) -> Result<Vec<(Option<String>, Value)>, Problem> {
    let (name, object) = (ClassName::parse("Order").unwrap(), ObjectId::parse("o1").unwrap());
    let letters = letters(class, &name, &object, 7, events)?;
    let told = letters.into_iter().map(|letter| {
        assert_eq!((letter.class.as_str(), letter.method.as_str(), letter.due_ms), ("Audit", "record", 0));
        let told: Value = serde_json::from_slice(&letter.payload).unwrap();
        (letter.object.map(|object| object.to_string()), told[0].clone())
    });
    Ok(told.collect())
}

#[test]
fn a_trigger_tells_what_changed() {
    let class = class(&trigger("\"update\"", "field = \"total\"", true, "object = \"log\","));
    let update = event(TriggerEvent::Update, "total", Some("1"), Some("2"));
    let others = [
        event(TriggerEvent::Create, "total", None, Some("2")),
        event(TriggerEvent::Update, "other", None, None),
    ];
    let told = fired(&class, &[vec![update], others.into()].concat()).unwrap();
    let expected = json!({
        "class": "Order", "object": "o1", "action": "update", "key": "total", "method": null, "version": 7,
        "old": "MQ==", "new": "Mg==", "problem": null,
    });
    assert_eq!(told, [(Some("log".to_owned()), expected)]);
}

#[test]
fn values_are_told_only_when_they_are_asked_for_and_small_enough() {
    let without = class(&trigger("\"update\"", "field = \"*\"", false, ""));
    let told = fired(&without, &[event(TriggerEvent::Update, "k", Some("1"), Some("2"))]).unwrap();
    assert_eq!(told[0].0, None, "a function");
    assert_eq!((&told[0].1["old"], &told[0].1["new"]), (&Value::Null, &Value::Null));
    let with = class(&trigger("\"update\"", "field = \"*\"", true, ""));
    let large =
        |bytes| Event { new: Some(vec![0; bytes].into()), ..event(TriggerEvent::Update, "k", None, None) };
    assert!(fired(&with, &[large(VALUES_BYTES_MAX)]).unwrap()[0].1["new"].is_string());
    assert!(fired(&with, &[large(VALUES_BYTES_MAX + 1)]).unwrap()[0].1["new"].is_null());
}

#[test]
fn methods_fire_as_well_and_the_same_id_may_be_called() {
    let class = class(&trigger("\"complete\", \"error\"", "method = \"pay\"", true, "object = \"$id\","));
    let done = event(TriggerEvent::Complete, "pay", None, Some("{}"));
    let failed =
        Event { problem: Some("\"no money\"".into()), ..event(TriggerEvent::Error, "pay", None, None) };
    let told = fired(&class, &[done, failed, event(TriggerEvent::Complete, "value", None, None)]).unwrap();
    assert_eq!(told.len(), 2);
    assert_eq!(told[0].0.as_deref(), Some("o1"));
    assert_eq!((&told[0].1["method"], &told[0].1["key"]), (&json!("pay"), &Value::Null));
    assert_eq!((&told[1].1["action"], &told[1].1["problem"]), (&json!("error"), &json!("\"no money\"")));
}

#[test]
fn triggers_send_no_more_than_a_turn_may() {
    let class = class(&trigger("\"create\"", "field = \"*\"", true, ""));
    let events = |count| vec![event(TriggerEvent::Create, "k", None, Some("1")); count];
    assert_eq!(fired(&class, &events(3)).unwrap().len(), 3);
    assert_eq!(fired(&class, &events(4)).unwrap_err().kind(), Code::WriteLimit);
    let large =
        Event { new: Some(vec![0; 500 * 1024].into()), ..event(TriggerEvent::Create, "k", None, None) };
    assert_eq!(fired(&class, &vec![large.clone(); 2]).unwrap().len(), 2);
    assert_eq!(fired(&class, &vec![large; 3]).unwrap_err().kind(), Code::WriteLimit);
}

//! The messages that a turn has sent and cancelled so far. Pure: what is committed comes in as values.

use std::collections::BTreeMap;

use oprc_mesh::catalog::{CatalogView, ClassLimits};
use oprc_mesh::id::{ClassName, FieldKey, ObjectId};
use oprc_mesh::outcome::{Code, Problem};
use oprc_mesh::wire::Form;
use oprc_odgm::{Message, Outgoing};

use crate::value::is_json;
use crate::wasm::Letter;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Mail {
    /// In the order of sending; one that was taken back is none.
    letters: Vec<Option<Letter>>,
    named: BTreeMap<FieldKey, Named>,
    count: u64,
    bytes: usize,
}

/// What the turn did under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Named {
    /// Where its letter is, if it has one.
    letter: Option<usize>,
    /// A committed one was cancelled.
    cancelled: bool,
}

impl Mail {
    /// Sends a letter; one of the same name that this turn sent before is taken back.
    ///
    /// # Errors
    /// `write-limit` past the class's `sends` or `write_kib`.
    pub(super) fn send(&mut self, letter: Letter, limits: &ClassLimits) -> Result<(), Problem> {
        if let Some(key) = &letter.key {
            let letters = self.letters.len();
            let named = self.named.entry(key.clone()).or_insert(Named { letter: None, cancelled: false });
            let before = named.letter.replace(letters);
            self.take_back(before);
        }
        self.count += 1;
        self.bytes += bytes(&letter);
        if self.count > limits.sends {
            let detail = format!("the turn sends more than sends = {} messages", limits.sends);
            return Err(Problem::new(Code::WriteLimit, detail)
                .hint("send fewer per call, or raise the limit in the manifest"));
        }
        if self.bytes as u64 > limits.write_kib * 1024 {
            let detail =
                format!("the messages of the turn take more than write_kib = {} KiB", limits.write_kib);
            return Err(Problem::new(Code::WriteLimit, detail)
                .hint("send less per call, or raise the limit in the manifest"));
        }
        self.letters.push(Some(letter));
        Ok(())
    }

    /// Cancels the message of that name. `committed` tells whether the state below has one.
    pub(super) fn cancel(
        &mut self,
        key: &FieldKey,
        committed: impl FnOnce() -> Result<bool, Problem>,
    ) -> Result<bool, Problem> {
        let before = self.named.get(key).copied().unwrap_or(Named { letter: None, cancelled: false });
        let there = !before.cancelled && committed()?;
        self.take_back(before.letter);
        let cancelled = before.cancelled || there;
        self.named.insert(key.clone(), Named { letter: None, cancelled });
        Ok(before.letter.is_some() || there)
    }

    fn take_back(&mut self, letter: Option<usize>) {
        if let Some(letter) = letter.and_then(|at| self.letters[at].take()) {
            self.count -= 1;
            self.bytes -= bytes(&letter);
        }
    }

    /// The letters in the order of sending, and the names whose committed message is cancelled.
    pub(super) fn into_parts(self) -> (Vec<Letter>, Vec<String>) {
        let cancelled = self.named.into_iter().filter(|(_, named)| named.cancelled);
        let cancels = cancelled.map(|(key, _)| key.as_str().to_owned()).collect();
        (self.letters.into_iter().flatten().collect(), cancels)
    }
}

fn bytes(letter: &Letter) -> usize {
    letter.payload.len() + letter.class.as_str().len() + letter.method.as_str().len() + 64
}

/// Who sends.
pub(super) struct Sender<'a> {
    pub(super) class: &'a ClassName,
    pub(super) object: &'a ObjectId,
    /// The sender's partition.
    pub(super) group: u64,
}

impl Sender<'_> {
    /// Addresses a letter: to the partition of its object; to the sender's own for a function, and for a class that is not
    /// deployed, where it fails until it is.
    pub(super) fn address(
        &self,
        view: &CatalogView,
        letter: Letter,
        depth: u32,
        triggered: bool,
    ) -> Outgoing {
        let located = letter.object.as_ref().and_then(|object| {
            let class = view.class(letter.class.as_str())?;
            view.locate(class, &letter.class, object)
        });
        let text = letter.payload.is_empty() || std::str::from_utf8(&letter.payload).is_ok_and(is_json);
        let message = Message {
            id: String::new(),
            from_class: self.class.as_str().to_owned(),
            from_object: self.object.as_str().to_owned(),
            class: letter.class.as_str().to_owned(),
            object: letter.object.map_or_else(String::new, |object| object.as_str().to_owned()),
            method: letter.method.as_str().to_owned(),
            payload: letter.payload,
            form: if text { Form::Json } else { Form::Raw } as i32,
            depth,
            sent_ms: 0,
            triggered,
            asked: None,
            revived: 0,
            trace: String::new(),
            later: false,
        };
        let to_group = located.map_or(self.group, |info| info.group);
        let key = letter.key.map(|key| key.as_str().to_owned());
        Outgoing { message, to_group, due_ms: letter.due_ms, key }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use oprc_mesh::id::MethodName;

    fn letter(said: &str, key: Option<&str>) -> Letter {
        Letter {
            class: ClassName::parse("C").unwrap(),
            object: ObjectId::parse("o").ok(),
            method: MethodName::parse("m").unwrap(),
            payload: said.to_owned().into(),
            due_ms: 0,
            key: key.map(|key| FieldKey::parse(key).unwrap()),
        }
    }

    fn limits(sends: u64) -> ClassLimits {
        ClassLimits { sends, write_kib: 1, ..ClassLimits::default() }
    }

    fn parts(mail: Mail) -> (Vec<String>, Vec<String>) {
        let (letters, cancels) = mail.into_parts();
        (letters.iter().map(|letter| String::from_utf8(letter.payload.to_vec()).unwrap()).collect(), cancels)
    }

    #[test]
    fn a_turn_sends_as_many_as_it_may_and_not_one_more() {
        let mut mail = Mail::default();
        mail.send(letter("a", None), &limits(2)).unwrap();
        mail.send(letter("b", Some("k")), &limits(2)).unwrap();
        mail.send(letter("c", Some("k")), &limits(2)).unwrap(); // takes the place of the second
        assert_eq!(mail.send(letter("d", None), &limits(2)).unwrap_err().kind(), Code::WriteLimit);
        let mut mail = Mail::default();
        mail.send(letter(&"x".repeat(1024 - 66), None), &limits(9)).unwrap();
        assert_eq!(mail.send(letter("", None), &limits(9)).unwrap_err().kind(), Code::WriteLimit);
    }

    #[test]
    fn what_is_cancelled_is_there_no_more() {
        let key = FieldKey::parse("k").unwrap();
        let mut mail = Mail::default();
        assert!(!mail.cancel(&key, || Ok(false)).unwrap(), "there is none");
        assert!(mail.cancel(&key, || Ok(true)).unwrap());
        assert!(!mail.cancel(&key, || Ok(true)).unwrap(), "it was cancelled just now");
        mail.send(letter("a", Some("k")), &limits(9)).unwrap();
        mail.send(letter("b", None), &limits(9)).unwrap();
        assert!(mail.cancel(&key, || Ok(true)).unwrap(), "the turn's own");
        assert_eq!(parts(mail), (vec!["b".to_owned()], vec!["k".to_owned()]));
        // sending under a name takes the committed one's place, which needs no word here
        let mut mail = Mail::default();
        mail.send(letter("a", Some("k")), &limits(9)).unwrap();
        assert_eq!(parts(mail), (vec!["a".to_owned()], vec![]));
        let mut mail = Mail::default();
        mail.send(letter("a", Some("k")), &limits(9)).unwrap();
        assert!(mail.cancel(&key, || Ok(true)).unwrap(), "both the committed one and the turn's own");
        assert_eq!(parts(mail), (vec![], vec!["k".to_owned()]));
    }

    #[test]
    fn a_letter_finds_its_partition() {
        let view = CatalogView::default();
        let (class, object) = (ClassName::parse("S").unwrap(), ObjectId::parse("s").unwrap());
        let sender = Sender { class: &class, object: &object, group: 5 };
        let outgoing = sender.address(&view, letter("{}", None), 3, false);
        assert_eq!((outgoing.to_group, outgoing.message.depth), (5, 3), "an unknown class: here");
        assert_eq!(outgoing.message.form, Form::Json as i32);
        assert_eq!(sender.address(&view, letter("x", None), 0, true).message.form, Form::Raw as i32);
    }
}

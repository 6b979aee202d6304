//! Messages that were taken and wait to be run: one lane for each pair of sender and receiver. Only a lane's first message
//! is ready, so that they are run in order and one that keeps failing holds up its own lane only.

use super::desk::Desk;
use super::keys;
use super::record::{DeadKey, DeadRecord, LaneRecord, Message, ReadyKey, ReadyRecord, Settle, Verdict};
use crate::error::OdgmError;

impl Desk<'_> {
    /// Takes a message into its lane.
    pub(super) fn arrive(&mut self, message: &Message) -> Result<(), OdgmError> {
        let lane = keys::lane(message);
        let mut ends: LaneRecord = self.get(&keys::ends_of(&lane))?.unwrap_or_default();
        self.put(keys::in_lane(&lane, ends.next), message);
        self.note_asked(message, &lane, ends.next)?;
        if ends.head == ends.next {
            self.make_ready(lane.clone(), ends.next)?;
        }
        ends.next += 1;
        self.put(keys::ends_of(&lane), &ends);
        Ok(())
    }

    fn make_ready(&mut self, lane: Vec<u8>, number: u64) -> Result<(), OdgmError> {
        let now = self.now_ms()?;
        let key = keys::ready(self.fresh(now));
        self.put(key, &ReadyRecord { lane, number, attempts: 0 });
        self.stirred.ready = true;
        Ok(())
    }

    /// Whether the message is ready still, and so may be settled.
    pub(crate) fn is_ready(&self, key: ReadyKey) -> Result<bool, OdgmError> {
        Ok(self.get::<ReadyRecord>(&keys::ready(key))?.is_some())
    }

    /// Settles a ready message; one that is ready no more stays as it is.
    pub(crate) fn settle(&mut self, settle: &Settle) -> Result<(), OdgmError> {
        let verdict = Verdict::try_from(settle.verdict).map_err(|unknown| {
            OdgmError::corrupt("a commit in the log", format!("its verdict: {unknown}"))
        })?;
        let Some(mut ready) = self.get::<ReadyRecord>(&keys::ready(settle.ready))? else { return Ok(()) };
        self.drop(keys::ready(settle.ready));
        match verdict {
            Verdict::Retry | Verdict::Postpone => {
                ready.attempts += u32::from(verdict == Verdict::Retry);
                let at_ms = settle.at_ms.max(self.now_ms()?);
                let key = keys::ready(self.fresh(at_ms));
                self.put(key, &ready);
                self.stirred.ready = true;
                return Ok(());
            }
            Verdict::Consumed => {}
            Verdict::Dead => {
                let message = self.first(&ready)?;
                let letter = self.give_up(&message, &ready, settle)?;
                self.advance(&ready)?;
                self.asked_died(&message, letter);
                return Ok(());
            }
            Verdict::Forward => {
                let message = self.first(&ready)?;
                self.advance(&ready)?;
                return self.route(&message, settle.to_group);
            }
        }
        self.advance(&ready)
    }

    fn give_up(
        &mut self,
        message: &Message,
        ready: &ReadyRecord,
        settle: &Settle,
    ) -> Result<DeadKey, OdgmError> {
        let (message, dead_ms) = (message.clone(), self.now_ms()?);
        let problem = settle.problem.clone().unwrap_or_default();
        Ok(self.bury(&DeadRecord { message, attempts: ready.attempts + 1, problem, dead_ms }))
    }

    pub(super) fn first(&self, ready: &ReadyRecord) -> Result<Message, OdgmError> {
        let message = self.get(&keys::in_lane(&ready.lane, ready.number))?;
        message.ok_or_else(|| OdgmError::corrupt("a message that is ready", "it is not in its lane"))
    }

    /// Takes the first message out of its lane and makes the next one ready.
    fn advance(&mut self, ready: &ReadyRecord) -> Result<(), OdgmError> {
        self.forget_asked(ready)?;
        self.drop(keys::in_lane(&ready.lane, ready.number));
        let ends_key = keys::ends_of(&ready.lane);
        let mut ends: LaneRecord = self.get(&ends_key)?.unwrap_or_default();
        ends.head = ready.number + 1;
        if ends.head >= ends.next {
            self.drop(ends_key);
            return Ok(());
        }
        self.put(ends_key, &ends);
        self.make_ready(ready.lane.clone(), ends.head)
    }
}

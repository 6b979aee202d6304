//! Messages that wait for their time, in the sender's partition, so that cancelling and replacing one needs nobody else.

use prost::Message as _;

use super::desk::Desk;
use super::keys;
use super::record::{Message, Outgoing, ReadyKey, Tick, TimerRecord};
use crate::error::OdgmError;

/// Due timers that one entry moves on, by their size.
const TICK_BYTES_MAX: usize = 4 * 1024 * 1024;

impl Desk<'_> {
    /// Whether timers wait for the message's lane.
    pub(super) fn has_timers(&self, message: &Message) -> Result<bool, OdgmError> {
        Ok(self.number(&keys::timers_of(&keys::lane(message)))? > 0)
    }

    /// Whether the sender has a timer of that name.
    pub(crate) fn has_timer(&self, class: u64, object: &str, name: &str) -> Result<bool, OdgmError> {
        Ok(self.get::<ReadyKey>(&keys::timer_named(class, object, name))?.is_some())
    }

    pub(super) fn set_timer(
        &mut self,
        class: u64,
        at: ReadyKey,
        outgoing: Outgoing,
    ) -> Result<(), OdgmError> {
        if let Some(key) = &outgoing.key {
            self.put(keys::timer_named(class, &outgoing.message.from_object, key), &at);
        }
        let waiting = keys::timers_of(&keys::lane(&outgoing.message));
        let count = self.number(&waiting)?;
        self.set_number(waiting, count + 1);
        self.put(keys::timer(at), &TimerRecord { outgoing, class });
        self.stirred.timers = true;
        Ok(())
    }

    /// Forgets the sender's timer of that name; says whether there was one.
    pub(crate) fn cancel(&mut self, class: u64, object: &str, name: &str) -> Result<bool, OdgmError> {
        let Some(at) = self.get::<ReadyKey>(&keys::timer_named(class, object, name))? else {
            return Ok(false);
        };
        Ok(self.remove_timer(at)?.is_some())
    }

    fn remove_timer(&mut self, at: ReadyKey) -> Result<Option<Outgoing>, OdgmError> {
        let Some(TimerRecord { outgoing, class }) = self.get(&keys::timer(at))? else { return Ok(None) };
        self.drop(keys::timer(at));
        if let Some(key) = &outgoing.key {
            self.drop(keys::timer_named(class, &outgoing.message.from_object, key));
        }
        let waiting = keys::timers_of(&keys::lane(&outgoing.message));
        match self.number(&waiting)? {
            0 | 1 => self.drop(waiting),
            count => self.set_number(waiting, count - 1),
        }
        Ok(Some(outgoing))
    }

    /// Brings timers that are due on their way, in the order (due, commit), and no more than an entry should; says how
    /// many.
    pub(super) fn tick(&mut self, tick: Tick) -> Result<u64, OdgmError> {
        let now = self.now_ms()?;
        let (from, within) = (keys::timers_from(tick.from_ms), keys::timers());
        let (mut moved, mut bytes) = (0, 0);
        for (key, record) in self.scan(&from, &within, tick.limit as usize)? {
            let at = keys::parse_timer(&key).ok_or_else(|| OdgmError::corrupt("a timer", "its key"))?;
            bytes += record.len();
            if at.at_ms > now || (bytes > TICK_BYTES_MAX && moved > 0) {
                break;
            }
            let record =
                TimerRecord::decode(&*record).map_err(|error| OdgmError::corrupt("a timer", error))?;
            self.remove_timer(at)?;
            self.route(&record.outgoing.message, record.outgoing.to_group)?;
            moved += 1;
        }
        Ok(moved)
    }
}

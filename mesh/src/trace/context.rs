//! The W3C trace context as text and as a message (Trace Context, Level 1: <https://www.w3.org/TR/trace-context/>). Pure.

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

use crate::wire;

/// Version, trace, span and flags with what separates them: all of a header of version 0.
const TRACEPARENT_BYTES: usize = 55;
/// What of a `tracestate` has to be handed on; a longer one is left out, as the specification allows.
const TRACESTATE_BYTES_MAX: usize = 512;

/// What a request says of the trace that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// Nothing, or nothing that can be understood: then it counts as nothing.
    Nothing,
    /// It belongs to a trace that is not recorded.
    Unsampled,
    /// It belongs to this trace, below this span.
    Of(SpanContext),
}

impl Incoming {
    /// Reads the headers. There may be one `traceparent`; `tracestate`s are one list, and a malformed one is left out.
    pub fn parse<'h>(
        mut traceparents: impl Iterator<Item = &'h [u8]>,
        tracestates: impl Iterator<Item = &'h [u8]>,
    ) -> Self {
        let Some(one) = traceparents.next() else { return Self::Nothing };
        let Some((trace, span, flags)) = parse(one).filter(|_| traceparents.next().is_none()) else {
            return Self::Nothing;
        };
        if !flags.is_sampled() {
            return Self::Unsampled;
        }
        Self::Of(SpanContext::new(trace, span, flags, true, state(tracestates)))
    }

    /// Reads what a record kept of a trace.
    pub(super) fn kept(traceparent: &str) -> Self {
        if traceparent.is_empty() {
            return Self::Nothing;
        }
        Self::parse(std::iter::once(traceparent.as_bytes()), std::iter::empty())
    }
}

/// Takes a `traceparent` apart; none when it is malformed. A later version is read as far as this one goes, as the
/// specification wants.
fn parse(header: &[u8]) -> Option<(TraceId, SpanId, TraceFlags)> {
    let head = header.get(..TRACEPARENT_BYTES)?;
    let parts: Vec<&[u8]> = head.split(|byte| *byte == b'-').collect();
    let [version, trace, span, flags] = parts.as_slice() else { return None };
    let rest = &header[TRACEPARENT_BYTES..];
    let version = hex::<2>(version)?;
    let is_whole = if version == 0 { rest.is_empty() } else { rest.first().is_none_or(|byte| *byte == b'-') };
    if version == 0xff || !is_whole {
        return None;
    }
    let (trace, span) = (hex::<32>(trace)?, hex::<16>(span)?);
    // of the flags only one is known
    let flags = TraceFlags::new(hex::<2>(flags)? as u8 & 1);
    (trace != 0 && span != 0).then(|| (TraceId::from(trace), SpanId::from(span as u64), flags))
}

/// A number of exactly `DIGITS` lower-case hexadecimal digits.
fn hex<const DIGITS: usize>(text: &[u8]) -> Option<u128> {
    let all = text.len() == DIGITS && text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    all.then(|| std::str::from_utf8(text).ok()).flatten().and_then(|text| u128::from_str_radix(text, 16).ok())
}

fn state<'h>(tracestates: impl Iterator<Item = &'h [u8]>) -> TraceState {
    let lists: Vec<&str> = tracestates.filter_map(|list| std::str::from_utf8(list).ok()).collect();
    let list = lists.join(",");
    // the crate takes a member without a key
    let named = |member: &str| member.trim().is_empty() || !member.trim().starts_with('=');
    if list.len() > TRACESTATE_BYTES_MAX || !list.split(',').all(named) {
        return TraceState::default();
    }
    list.parse().unwrap_or_default()
}

/// As a header's value.
pub(super) fn traceparent(context: &SpanContext) -> String {
    let (trace, span, flags) = (context.trace_id(), context.span_id(), context.trace_flags().to_u8());
    format!("00-{trace:032x}-{span:016x}-{flags:02x}")
}

/// As a message.
pub(super) fn to_wire(context: &SpanContext) -> wire::Trace {
    let trace = u128::from_be_bytes(context.trace_id().to_bytes());
    wire::Trace {
        high: (trace >> 64) as u64,
        low: trace as u64,
        span: u64::from_be_bytes(context.span_id().to_bytes()),
        state: context.trace_state().header(),
    }
}

/// From a message; none when it names no trace.
pub(super) fn of_wire(trace: &wire::Trace) -> Option<SpanContext> {
    let id = u128::from(trace.high) << 64 | u128::from(trace.low);
    let state = state(std::iter::once(trace.state.as_bytes()).filter(|state| !state.is_empty()));
    let is_some = id != 0 && trace.span != 0;
    is_some.then(|| SpanContext::new(id.into(), trace.span.into(), TraceFlags::SAMPLED, true, state))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn read(traceparents: &[&str], tracestates: &[&str]) -> Incoming {
        let bytes = |text: &&'static str| text.as_bytes();
        let leak = |texts: &[&str]| -> Vec<&'static str> {
            texts.iter().map(|text| &*text.to_string().leak()).collect()
        };
        let (parents, states) = (leak(traceparents), leak(tracestates));
        Incoming::parse(parents.iter().map(bytes), states.iter().map(bytes))
    }

    #[test]
    fn what_is_well_formed_comes_back_as_it_went() {
        let Incoming::Of(context) = read(&[HEADER], &["a=1", "b=2"]) else { panic!("it is one") };
        assert_eq!((traceparent(&context).as_str(), context.is_remote()), (HEADER, true));
        assert_eq!(context.trace_state().header(), "a=1,b=2");
        // of later versions so much is known; other flags are not
        let later = format!("01{}-more", &HEADER[2..]);
        assert!(matches!(read(&[&later], &[]), Incoming::Of(_)));
        let flagged = format!("{}ff", &HEADER[..53]);
        let Incoming::Of(context) = read(&[&flagged], &[]) else { panic!("it is one") };
        assert_eq!(traceparent(&context), HEADER);
        for unsampled in ["00", "02", "fe"] {
            let header = format!("{}{unsampled}", &HEADER[..53]);
            assert!(matches!(read(&[&header], &[]), Incoming::Unsampled), "{header}");
        }
    }

    #[test]
    fn what_is_malformed_counts_as_nothing() {
        let upper = HEADER.to_uppercase();
        let with = |at: usize, byte: &str| {
            let mut header = HEADER.to_owned();
            header.replace_range(at..=at, byte);
            header
        };
        let bad = [
            String::new(),
            "00".into(),
            HEADER[..54].into(),
            format!("{HEADER}-"),
            format!("{HEADER}0"),
            format!("ff{}", &HEADER[2..]),
            format!("01{}0", &HEADER[2..]),
            upper,
            with(2, "_"),
            with(10, "-"),
            with(10, "g"),
            with(54, "x"),
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01", "0".repeat(16)),
            format!(" {HEADER}"),
        ];
        for header in &bad {
            assert!(matches!(read(&[header], &["a=1"]), Incoming::Nothing), "{header:?}");
        }
        assert!(matches!(read(&[HEADER, HEADER], &[]), Incoming::Nothing), "there may be one");
        assert!(matches!(read(&[], &["a=1"]), Incoming::Nothing));
        // a bad list is left out, and nothing else with it
        for list in ["=", "a", &format!("a={}", "x".repeat(600))] {
            let Incoming::Of(context) = read(&[HEADER], &[list]) else { panic!("{list}") };
            assert_eq!(context.trace_state().header(), "", "{list}");
        }
    }

    #[test]
    fn on_the_mesh_it_is_the_same() {
        let Incoming::Of(context) = read(&[HEADER], &["a=1"]) else { panic!("it is one") };
        assert_eq!(of_wire(&to_wire(&context)), Some(context));
        assert_eq!(of_wire(&wire::Trace::default()), None);
    }

    #[test]
    fn a_record_keeps_it_as_a_header() {
        assert!(matches!(Incoming::kept(HEADER), Incoming::Of(_)));
        assert!(matches!(Incoming::kept(""), Incoming::Nothing));
    }
}

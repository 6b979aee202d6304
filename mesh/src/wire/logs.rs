//! What guests print, as a host remembers it.

/// Asks a host for what a class's guests printed there.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ReadLogs {
    /// The class's name.
    #[prost(string, tag = "1")]
    pub class: String,
    /// Only of this object.
    #[prost(string, optional, tag = "2")]
    pub object: Option<String>,
    /// Only lines after this number, oldest first. Absent: the newest lines.
    #[prost(uint64, optional, tag = "3")]
    pub after: Option<u64>,
    /// Of the newest lines, so many at the most.
    #[prost(uint32, tag = "4")]
    pub tail: u32,
    /// While there is nothing after the number, wait so long for it.
    #[prost(uint64, tag = "5")]
    pub wait_ms: u64,
}

/// The answer to [`ReadLogs`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct LogPage {
    /// Oldest first; fewer than there are when that would be too much at once.
    #[prost(message, repeated, tag = "1")]
    pub items: Vec<LogLine>,
    /// Everything that was asked for up to this number is among the items, but for a gap: go on after it.
    #[prost(uint64, tag = "2")]
    pub upto: u64,
    /// Lines after the number asked for, and before the items, are remembered no more.
    #[prost(bool, tag = "3")]
    pub gap: bool,
}

/// A line.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct LogLine {
    /// When it was written, in microseconds since the Unix epoch, by the host's clock.
    #[prost(uint64, tag = "1")]
    pub time_us: u64,
    /// The object; empty for a function.
    #[prost(string, tag = "2")]
    pub object: String,
    /// The method or function.
    #[prost(string, tag = "3")]
    pub method: String,
    /// The id of the call.
    #[prost(string, tag = "4")]
    pub invocation: String,
    /// Where it was written to.
    #[prost(enumeration = "LogStream", tag = "5")]
    pub stream: i32,
    /// The id of the trace, as 32 hexadecimal digits; empty when the call was not traced.
    #[prost(string, tag = "6")]
    pub trace: String,
    /// The line, without its end.
    #[prost(string, tag = "7")]
    pub text: String,
}

/// Where a line was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum LogStream {
    /// Standard output.
    Out = 0,
    /// Standard error.
    Err = 1,
    /// Nowhere: the host says how the run ended.
    Host = 2,
}

impl LogStream {
    /// As clients see it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Out => "stdout",
            Self::Err => "stderr",
            Self::Host => "host",
        }
    }
}

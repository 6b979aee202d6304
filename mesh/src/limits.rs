//! Every limit of the house that more than one crate must agree on, in one file, units last, related by assertions.
//! Each has what happens past it in the comment; each is tested at it and one past it.

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Slots of a grid, the unit of the partition map. Never changes: it is in every stored object's address.
pub const SLOTS: u16 = 4096;
/// Partitions of the shared grid `default`.
pub const DEFAULT_GRID_PARTITIONS: u32 = 16;
/// Partitions of a grid of its own, at the most.
pub const GRID_PARTITIONS_MAX: u32 = 256;

/// Class, method and function names; longer is `invalid`.
pub const CLASS_NAME_BYTES_MAX: usize = 64;
/// Object ids; longer is `invalid`.
pub const OBJECT_ID_BYTES_MAX: usize = 160;
/// Field keys; longer is `invalid`.
pub const FIELD_KEY_BYTES_MAX: usize = 256;
/// One field's value; more is `payload-too-large`.
pub const FIELD_VALUE_BYTES_MAX: usize = MIB;
/// A component; more is `payload-too-large`.
pub const COMPONENT_BYTES_MAX: usize = 64 * MIB;
/// Components travel in chunks of this size.
pub const COMPONENT_CHUNK_BYTES: usize = MIB;
/// A manifest's text; more is `payload-too-large`.
pub const MANIFEST_BYTES_MAX: usize = 64 * KIB;
/// Request bodies that the gateway reads for a call or an object write, before the class's own limit is looked at.
pub const REQUEST_BYTES_MAX: usize = 32 * MIB;

/// Waiting calls of one object; one more is `overloaded`.
pub const MAILBOX_CALLS_MAX: usize = 1024;
/// Asynchronous calls of one object that wait, or of one class's functions in one partition; one more is `overloaded`.
pub const ASYNC_CALLS_MAX: u64 = MAILBOX_CALLS_MAX as u64;
/// What they take up together; one more is `overloaded`.
pub const ASYNC_BYTES_MAX: u64 = 64 * MIB as u64;
/// How long a look at an asynchronous call may wait for it to be decided; longer is `invalid`.
pub const INVOCATION_WAIT_MS_MAX: u64 = 60_000;

/// A whole-object read past this many fields is `object-too-large`: list the fields instead.
pub const OBJECT_READ_FIELDS_MAX: usize = 1000;
/// A whole-object read past this many bytes of keys and values is `object-too-large`.
pub const OBJECT_READ_BYTES_MAX: usize = MIB;
/// Items of one page, at the most; asking for more is `invalid`.
pub const PAGE_ITEMS_MAX: usize = 1000;
/// Items of one page unless told.
pub const PAGE_ITEMS_DEFAULT: usize = 100;
/// Bytes of one page of fields: the page ends early, after at least one item.
pub const PAGE_BYTES_MAX: usize = MIB;

/// What a guest may emit in one turn; one more is `write-limit`.
pub const EMITS_MAX: usize = 256;
/// Topics and payloads that a guest may emit in one turn; more is `write-limit`.
pub const EMIT_BYTES_MAX: usize = 256 * KIB;
/// Fields that an event names; of those beyond it tells the number.
pub const EVENT_CHANGES_MAX: usize = 1000;
/// Events that a partition keeps to be read again; the oldest go, a block of them at a time.
pub const EVENT_LOG_EVENTS_MAX: u64 = 65_536;
/// Bytes of the events that a partition keeps; past it the oldest go.
pub const EVENT_LOG_BYTES_MAX: u64 = 8 * MIB as u64;
/// Bytes of one page of events: the page ends early, after at least one event.
pub const EVENT_PAGE_BYTES_MAX: usize = 256 * KIB;
/// How long a reader of events may have a host wait for one; longer is this long.
pub const EVENT_WAIT_MS_MAX: u64 = 30_000;

/// Origins to which a class may send requests; more is `invalid`.
pub const HTTP_ORIGINS_MAX: usize = 64;
/// Networks beside the public Internet that its requests may reach; more is `invalid`.
pub const HTTP_NETWORKS_MAX: usize = 64;
/// How long a request may take to be connected, TLS included, unless the guest allows less; past it `connection-timeout`.
pub const HTTP_CONNECT_MS_MAX: u64 = 5_000;
/// How long it may wait for the head of the response, unless the guest allows less; past it `connection-read-timeout`.
pub const HTTP_FIRST_BYTE_MS_MAX: u64 = 30_000;
/// How long for each further piece of the response; past it `connection-read-timeout`.
pub const HTTP_BETWEEN_BYTES_MS_MAX: u64 = 10_000;
/// The body of a request, and of the response to it; past it `HTTP-request-body-size`, `HTTP-response-body-size`.
pub const HTTP_BODY_BYTES_MAX: u64 = 16 * MIB as u64;
/// The headers that a turn may send with a request; past it `HTTP-request-header-section-size`.
pub const HTTP_HEADERS_BYTES_MAX: usize = 32 * KIB;
/// The head of a response; past it `HTTP-response-header-section-size`.
pub const HTTP_RESPONSE_HEAD_BYTES_MAX: usize = 64 * KIB;
/// The path and query of a request that a turn sends; past it `HTTP-request-URI-too-long`.
pub const HTTP_PATH_BYTES_MAX: usize = 16 * KIB;
/// Requests of one turn at the same time; one more is `connection-limit-reached`.
pub const HTTP_REQUESTS_PER_TURN_MAX: usize = 32;
/// Requests of all turns of a host at the same time; one more is `connection-limit-reached`.
pub const HTTP_REQUESTS_PER_HOST_MAX: usize = 512;
/// Headers of a request that a class serves, and of its response; more is 431, or `payload-too-large`.
pub const SERVED_HEADERS_MAX: usize = 96;
/// Their names and values; more is 431, or `payload-too-large`.
pub const SERVED_HEADERS_BYTES_MAX: usize = 32 * KIB;
/// The path and query of a request that a class serves; longer is 414.
pub const SERVED_PATH_BYTES_MAX: usize = 4 * KIB;
/// Lines of a class's guests that a host remembers; with one more the oldest is forgotten.
pub const LOG_LINES_MAX: usize = 10_000;
/// What they take up; the oldest are forgotten beyond it.
pub const LOG_BYTES_MAX: usize = 512 * KIB;
/// Classes whose guests' lines a host remembers; with one more, the one is forgotten that was silent for longest.
pub const LOG_CLASSES_MAX: usize = 128;
/// A page of them ends early, after at least one line.
pub const LOG_PAGE_BYTES_MAX: usize = 256 * KIB;
/// Lines that may be asked for at once; more is `invalid`.
pub const LOG_TAIL_MAX: usize = PAGE_ITEMS_MAX;
/// Lines that are given unless told.
pub const LOG_TAIL_DEFAULT: usize = 100;
/// How long a reader of lines may have a host wait for one; longer is this long.
pub const LOG_WAIT_MS_MAX: u64 = 30_000;

/// Deadline of a call unless the caller sets one.
pub const DEADLINE_MS_DEFAULT: u64 = 10_000;
/// The longest deadline that a caller may set; longer is `invalid`.
pub const DEADLINE_MS_MAX: u64 = 120_000;

/// A limit that a manifest may set: what it is unless told, and how far it may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// The key in the manifest's `[class.limits]`.
    pub key: &'static str,
    /// The value unless the manifest says otherwise.
    pub default: u64,
    /// The hard cap; a manifest past it is refused.
    pub cap: u64,
}

/// Processor time of one turn; past it `cpu-limit`.
pub const CPU_MS: Setting = Setting { key: "cpu_ms", default: 500, cap: 10_000 };
/// Time from start to end of one turn; past it `wall-limit`.
pub const WALL_MS: Setting = Setting { key: "wall_ms", default: 5_000, cap: 60_000 };
/// Linear memory of one turn; past it `memory-limit`.
pub const MEMORY_MIB: Setting = Setting { key: "memory_mib", default: 64, cap: 1_024 };
/// Request and, separately, result of one call; past it `payload-too-large`.
pub const PAYLOAD_KIB: Setting = Setting { key: "payload_kib", default: 1_024, cap: 16_384 };
/// Keys and values written by one turn; past it `write-limit`.
pub const WRITE_KIB: Setting = Setting { key: "write_kib", default: 8_192, cap: 32_768 };
/// Fields written by one turn; past it `write-limit`.
pub const WRITE_KEYS: Setting = Setting { key: "write_keys", default: 10_000, cap: 100_000 };
/// Messages sent by one turn; past it `write-limit`.
pub const SENDS: Setting = Setting { key: "sends", default: 1_000, cap: 10_000 };
/// Calls that may wait for one another, the innermost not counted; past it `call-depth`. Also triggers that lead to one
/// another; past it a dead letter.
pub const CALL_DEPTH: Setting = Setting { key: "call_depth", default: 16, cap: 64 };

/// How long a turn waits for the answer to a nested call, unless its own time ends sooner; past it `call-timeout`.
pub const NESTED_MS_MAX: u64 = 10_000;

/// For so long the outcome of a call with a client's `Idempotency-Key` is kept, and given to whoever tries it again.
pub const KEEP_HOURS: Setting = Setting { key: "keep_hours", default: 24, cap: 720 };
/// Calls in a second that a gateway takes for a class, or from a caller; one more is `overloaded`. 0 for no limit.
pub const CALLS_PER_S: Setting = Setting { key: "calls_per_s", default: 0, cap: 1_000_000 };
/// Calls at once after a pause, where there is a rate; 0 for as many as in a second.
pub const BURST: Setting = Setting { key: "burst", default: 0, cap: 1_000_000 };
/// Calls under way that a gateway takes for a class, or from a caller; one more is `overloaded`. 0 for no limit.
pub const CONCURRENCY: Setting = Setting { key: "concurrency", default: 0, cap: 100_000 };
/// How often a message is tried before it becomes a dead letter, unless the manifest says otherwise.
pub const MESSAGE_ATTEMPTS_DEFAULT: u32 = 8;
/// The most that a manifest may say; more is `invalid`.
pub const MESSAGE_ATTEMPTS_MAX: u32 = 100;

/// All settings, for the manifest's check and the reference page.
pub const SETTINGS: [Setting; 12] = [
    CPU_MS,
    WALL_MS,
    MEMORY_MIB,
    PAYLOAD_KIB,
    WRITE_KIB,
    WRITE_KEYS,
    SENDS,
    CALL_DEPTH,
    KEEP_HOURS,
    CALLS_PER_S,
    BURST,
    CONCURRENCY,
];

/// A call whose id the gateway made is kept for as long as it may be tried again, which is until its deadline, and for so
/// much more: clocks of hosts differ.
pub const KEPT_PAST_DEADLINE_MS: u64 = 30_000;
/// A nested call is kept for as long as its caller's own caller may try again: that one's deadline is not known here, so
/// for as long as any may be.
pub const NESTED_KEPT_MS: u64 = DEADLINE_MS_MAX + KEPT_PAST_DEADLINE_MS;
/// A result that takes up more than this is not kept: who tries such a call again is told that it took effect.
pub const RESULT_KEPT_BYTES_MAX: usize = MIB;
/// What a nested call of a method that writes may give; more is `payload-too-large`, and nothing is written.
pub const NESTED_RESULT_BYTES_MAX: usize = RESULT_KEPT_BYTES_MAX - KIB;

// What must hold between them.
const _: () = {
    assert!(SLOTS as u32 >= GRID_PARTITIONS_MAX && GRID_PARTITIONS_MAX >= DEFAULT_GRID_PARTITIONS);
    // one field fits into one turn's writes, one payload and one page
    assert!(FIELD_VALUE_BYTES_MAX + FIELD_KEY_BYTES_MAX <= WRITE_KIB.default as usize * KIB);
    assert!(FIELD_VALUE_BYTES_MAX <= PAYLOAD_KIB.default as usize * KIB);
    // what the gateway reads covers every class's own payload limit, also as base64
    assert!(REQUEST_BYTES_MAX >= PAYLOAD_KIB.cap as usize * KIB * 4 / 3);
    assert!(COMPONENT_BYTES_MAX.is_multiple_of(COMPONENT_CHUNK_BYTES));
    assert!(CPU_MS.cap <= WALL_MS.cap && WALL_MS.cap <= DEADLINE_MS_MAX);
    assert!(PAGE_ITEMS_DEFAULT <= PAGE_ITEMS_MAX);
    // the largest events do not push each other out
    let event_bytes_max = EMIT_BYTES_MAX + EVENT_CHANGES_MAX * (FIELD_KEY_BYTES_MAX + 16) + KIB;
    assert!(event_bytes_max as u64 * 8 <= EVENT_LOG_BYTES_MAX);
    assert!(EVENT_WAIT_MS_MAX < DEADLINE_MS_MAX && INVOCATION_WAIT_MS_MAX < DEADLINE_MS_MAX);
    assert!(HTTP_CONNECT_MS_MAX <= HTTP_FIRST_BYTE_MS_MAX && HTTP_FIRST_BYTE_MS_MAX <= WALL_MS.cap);
    assert!(HTTP_REQUESTS_PER_TURN_MAX <= HTTP_REQUESTS_PER_HOST_MAX);
    // what one class serves another can send and read
    assert!(SERVED_HEADERS_BYTES_MAX <= HTTP_HEADERS_BYTES_MAX);
    assert!(SERVED_HEADERS_BYTES_MAX < HTTP_RESPONSE_HEAD_BYTES_MAX);
    assert!(PAYLOAD_KIB.cap * KIB as u64 <= HTTP_BODY_BYTES_MAX);
    assert!(LOG_PAGE_BYTES_MAX <= LOG_BYTES_MAX && LOG_WAIT_MS_MAX < DEADLINE_MS_MAX);
    assert!(LOG_TAIL_DEFAULT <= LOG_TAIL_MAX && LOG_TAIL_MAX <= LOG_LINES_MAX);
    assert!(ASYNC_BYTES_MAX >= PAYLOAD_KIB.cap * KIB as u64);
    let mut i = 0;
    while i < SETTINGS.len() {
        assert!(SETTINGS[i].default <= SETTINGS[i].cap);
        i += 1;
    }
};

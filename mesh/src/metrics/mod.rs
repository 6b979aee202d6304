//! Numbers of the running system, as Prometheus reads them: each part of a process is a [`Source`], and a [`Page`] puts
//! together what they tell, in the text format of `OpenMetrics`.
//!
//! Recording must cost next to nothing beside a call, and what is recorded must not grow with what callers make up. So
//! counters are plain atomics ([`Histogram`] too), and those by class and method ([`Calls`]) exist only for what the
//! catalog knows, up to a bound. Whatever is asked of the whole (depths, lags) is looked at when a page is read.

mod calls;
mod cell;
mod count;
mod histogram;
mod known;
mod own;
mod page;
mod sheet;

pub use self::calls::{Calls, Told};
pub use self::cell::{BOUNDS, Bounds, OTHER, Outcomes};
pub use self::count::Count;
pub use self::histogram::{Buckets, COUNTS, Histogram, SECONDS, SIZES};
pub use self::page::{CONTENT_TYPE, Page, PageError};
pub use self::sheet::{Sheet, Source};

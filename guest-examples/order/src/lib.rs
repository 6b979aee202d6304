//! An order per object. Its field `status` goes from `placed` to `paid`, or to `expired` when nobody pays in time. What it
//! has reserved is in another object, the stock of its item.

use oprc::odgm::messages::{self, Due, Options};
use oprc::odgm::objects::{self, ObjectRef};
use oprc::odgm::{context, fields};

wit_bindgen::generate!({ path: ["../../wit", "order.wit"], world: "example:order/shop", generate_all });

const STATUS: &str = "status";
const ITEM: &str = "item";
const COUNT: &str = "count";
/// Of a stock: what is left.
const LEFT: &str = "left";
/// The names of the timers, by which they are cancelled.
const REMINDER: &str = "reminder";
const EXPIRY: &str = "expiry";

struct Order;

fn is(status: &str) -> bool {
    Order::status().as_deref() == Some(status)
}

fn me() -> ObjectRef {
    context::self_().expect("a method has an object")
}

fn text(key: &str) -> Option<String> {
    fields::get(key).map(|text| String::from_utf8_lossy(&text).into_owned())
}

fn stock_of(item: &str) -> ObjectRef {
    ObjectRef { id: format!("stock-{item}"), ..me() }
}

fn count_json(count: &str) -> String {
    format!("{{\"count\": {count}}}")
}

impl Guest for Order {
    fn place(item: String, count: u32, pay_within_ms: u64) -> Result<(), String> {
        if let Some(status) = Self::status() {
            return Err(format!("it is {status} already"));
        }
        // Another object's turn, which is committed when it comes back. Last of all that may be refused: nothing after it can
        // fail, so that nothing has to be undone. Run again after a crash, the order is told the same again.
        let payload = count_json(&count.to_string());
        match objects::invoke(&stock_of(&item), "reserve", payload.as_bytes()) {
            Ok(_) => {}
            Err(objects::Error::Failed(_)) => return Err(format!("not so much {item} is left")),
            Err(objects::Error::Problem(problem)) => return Err(problem.detail),
        }
        fields::set(ITEM, item.as_bytes());
        fields::set(COUNT, count.to_string().as_bytes());
        fields::set(STATUS, b"placed");
        // Committed with the fields above: there is no order without its timers, and no timer without its order.
        let after = |due, name: &str| Options { due: Due::Delay(due), key: Some(name.into()) };
        messages::send(&me(), "remind", b"", &after(pay_within_ms / 2, REMINDER));
        messages::send(&me(), "expire", b"", &after(pay_within_ms, EXPIRY));
        Ok(())
    }

    fn pay() -> Result<(), String> {
        if !is("placed") {
            return Err(
                Self::status().map_or("it was never placed".into(), |status| format!("it is {status}"))
            );
        }
        fields::set(STATUS, b"paid");
        messages::cancel(REMINDER);
        messages::cancel(EXPIRY);
        Ok(())
    }

    fn remind() {
        if is("placed") {
            fields::set("reminded", b"yes");
        }
    }

    fn expire() {
        // The timer may have gone off just before somebody paid: then it comes after, and changes nothing.
        if !is("placed") {
            return;
        }
        fields::set(STATUS, b"expired");
        // The compensation: it is on its way if, and only if, the order has expired, and it arrives once.
        let (item, count) = (text(ITEM).unwrap_or_default(), text(COUNT).unwrap_or_default());
        let now = Options { due: Due::Now, key: None };
        messages::send(&stock_of(&item), "release", count_json(&count).as_bytes(), &now);
    }

    fn status() -> Option<String> {
        text(STATUS)
    }

    fn restock(count: u32) -> i64 {
        fields::increment(LEFT, count.into())
    }

    fn reserve(count: u32) -> Result<i64, String> {
        let left = fields::increment(LEFT, -i64::from(count));
        // an error leaves no trace, so that there is nothing to put back
        if left < 0 { Err("there is not so much left".into()) } else { Ok(left) }
    }

    fn release(count: u32) -> i64 {
        fields::increment(LEFT, count.into())
    }
}

export!(Order);

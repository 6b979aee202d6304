//! An order per object. Its field `status` goes from `placed` to `paid`, or to `expired` when nobody pays in time.

use oprc::odgm::messages::{self, Due, Options};
use oprc::odgm::{context, fields};

wit_bindgen::generate!({ path: ["../../wit", "order.wit"], world: "example:order/shop", generate_all });

const STATUS: &str = "status";
/// The name of the timer, by which it is cancelled.
const EXPIRY: &str = "expiry";

struct Order;

fn is(status: &str) -> bool {
    Order::status().as_deref() == Some(status)
}

impl Guest for Order {
    fn place(item: String, pay_within_ms: u64) -> Result<(), String> {
        if let Some(status) = Self::status() {
            return Err(format!("it is {status} already"));
        }
        fields::set("item", item.as_bytes());
        fields::set(STATUS, b"placed");
        let me = context::self_().ok_or("an order is an object")?;
        // Committed with the two fields above: there is no order without its timer, and no timer without its order.
        messages::send(
            &me,
            "expire",
            b"",
            &Options { due: Due::Delay(pay_within_ms), key: Some(EXPIRY.into()) },
        );
        Ok(())
    }

    fn pay() -> Result<(), String> {
        if !is("placed") {
            return Err(
                Self::status().map_or("it was never placed".into(), |status| format!("it is {status}"))
            );
        }
        fields::set(STATUS, b"paid");
        messages::cancel(EXPIRY);
        Ok(())
    }

    fn expire() {
        // The timer may have gone off just before somebody paid: then it comes after, and changes nothing.
        if is("placed") {
            fields::set(STATUS, b"expired");
        }
    }

    fn status() -> Option<String> {
        fields::get(STATUS).map(|status| String::from_utf8_lossy(&status).into_owned())
    }
}

export!(Order);

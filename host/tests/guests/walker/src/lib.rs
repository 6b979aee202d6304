//! A chain of calls, as long as is asked for.

wit_bindgen::generate!({
    path: ["../../../../wit", "wit"],
    world: "test:walker/walker",
    generate_all,
});

use oprc::odgm::objects::{self, ObjectRef};
use oprc::odgm::{context, fields};

struct Walker;

impl Guest for Walker {
    fn walk(left: u32) -> u32 {
        fields::increment("steps", 1);
        if left == 0 {
            return 1;
        }
        let Some(me) = context::self_() else { return 0 };
        let next = ObjectRef { id: me.id + "x", class: me.class };
        let Ok(result) = objects::invoke(&next, "walk", format!("[{}]", left - 1).as_bytes()) else {
            return 0;
        };
        match String::from_utf8(result).map(|text| text.parse()) {
            Ok(Ok(count @ 1..)) => count + 1,
            _ => 0,
        }
    }
}

export!(Walker);

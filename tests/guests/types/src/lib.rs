//! Gives back what it is given.

use exports::test::types::shapes;

wit_bindgen::generate!({ path: "wit", world: "test:types/types" });

struct Types;

macro_rules! echo {
    ($($name:ident: $type:ty),+ $(,)?) => {$(
        fn $name(value: $type) -> $type {
            value
        }
    )+};
}

impl shapes::Guest for Types {
    echo! {
        echo_point: shapes::Point,
        echo_person: shapes::Person,
        echo_shape: shapes::Shape,
        echo_colour: shapes::Colour,
        echo_rights: shapes::Rights,
        echo_people: Vec<shapes::Person>,
    }
}

impl Guest for Types {
    echo! {
        echo_bool: bool,
        echo_u8: u8,
        echo_u16: u16,
        echo_u32: u32,
        echo_u64: u64,
        echo_s8: i8,
        echo_s16: i16,
        echo_s32: i32,
        echo_s64: i64,
        echo_f32: f32,
        echo_f64: f64,
        echo_char: char,
        echo_string: String,
        echo_bytes: Vec<u8>,
        echo_list: Vec<u32>,
        echo_lists: Vec<Vec<String>>,
        echo_byte_lists: Vec<Vec<u8>>,
        echo_option: Option<u32>,
        echo_option_option: Option<Option<u32>>,
        echo_tuple: (u8, String, bool),
        echo_results: Vec<Result<u8, Colour>>,
    }

    fn echo_result(value: Result<u32, String>) -> (Result<u32, String>,) {
        (value,)
    }

    fn echo_bare_result(value: Result<(), ()>) -> (Result<(), ()>,) {
        (value,)
    }

    fn infinity() -> f64 {
        f64::INFINITY
    }

    fn not_a_number() -> f32 {
        f32::NAN
    }

    fn nothing() {}

    fn join(left: String, right: String, times: u32) -> String {
        format!("{left}{}", right.repeat(times as usize))
    }

    fn greet(name: String, title: Option<String>) -> String {
        title.map_or_else(|| name.clone(), |title| format!("{title} {name}"))
    }

    fn translate(origin: Point, by: Point) -> Point {
        Point { x: origin.x + by.x, y: origin.y + by.y }
    }

    fn keyword(type_: u32) -> u32 {
        type_
    }

    fn pad(mut data: Vec<u8>, count: u32) -> Vec<u8> {
        data.resize(data.len() + count as usize, 0);
        data
    }

    fn checked(value: u32, error: Option<String>) -> Result<u32, String> {
        error.map_or(Ok(value), Err)
    }

    fn checked_point(fail: bool) -> Result<Colour, Point> {
        if fail { Err(Point { x: -1, y: 1 }) } else { Ok(Colour::DarkGreen) }
    }

    fn checked_bare(fail: bool) -> Result<(), ()> {
        if fail { Err(()) } else { Ok(()) }
    }

    fn checked_error(fail: bool) -> Result<(), String> {
        if fail { Err("as asked".to_owned()) } else { Ok(()) }
    }

    fn checked_value(fail: bool) -> Result<String, ()> {
        if fail { Err(()) } else { Ok("well".to_owned()) }
    }

    fn checked_bytes(fail: bool) -> Result<Vec<u8>, Vec<u8>> {
        if fail { Err(vec![0, 255]) } else { Ok(vec![1, 2, 254]) }
    }
}

export!(Types);

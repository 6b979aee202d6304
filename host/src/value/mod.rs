//! JSON to WIT values and back: the mapping of the callers' bodies onto a method's own types.
//!
//! All of it is pure. [`Wit`] is a component's type, taken over once when the component is loaded ([`take_over`]); [`Signature`] reads a
//! call's arguments by it and writes a call's result. Nothing is guessed or rounded: what does not fit the type is
//! refused, with the path to it, the type that was expected and what was found.
//!
//! | WIT | JSON |
//! | --- | --- |
//! | `bool`, `string`, `char` | boolean, string, string of one character |
//! | `u8` to `s32` | number without fraction or exponent |
//! | `u64`, `s64` | the same, or a string of decimal digits; always a number on the way out |
//! | `f32`, `f64` | number; NaN and infinities are refused both ways |
//! | `list<u8>` | base64 (standard alphabet, padded); at the top also the bytes themselves |
//! | `list`, `tuple` | array |
//! | `record` | object; a field of an option type may be left out |
//! | `option<T>` | the value, or `null`; where `T` is itself an option, `{"some": ...}` or `null` |
//! | `variant` | `{"case": value}`, without a payload `"case"` (in: also `{"case": null}`) |
//! | `enum`, `flags` | string, array of strings |
//! | `result<T, E>` | `{"ok": ...}` or `{"err": ...}`, `null` for none; at the top: T, or the problem `function-error` with E |

mod decode;
mod encode;
mod json;
mod path;
mod room;
mod signature;
#[cfg(test)]
mod tests;
mod wit;

pub(crate) use encode::bytes_of;
pub(crate) use json::is_json;
pub(crate) use signature::{Output, Signature, function_problem, reply_bytes};
pub(crate) use wit::{NODES_MAX, Wit, take_over};

//! The mapping, both ways: every type by example.

#![allow(clippy::unwrap_used)]

mod properties;

use oprc_mesh::outcome::{Code, Problem};
use oprc_mesh::wire::Form;
use wasmtime::component::Val;

use super::decode::decode;
use super::encode::encode;
use super::json::Reader;
use super::path::Path;
use super::{Output, Signature, Wit};

fn signature(params: &[(&str, Wit)], result: Option<Wit>) -> Signature {
    Signature { params: params.iter().map(|(name, ty)| ((*name).to_owned(), ty.clone())).collect(), result }
}

fn read(ty: &Wit, text: &str) -> Result<Val, String> {
    let mut reader = Reader::new(text);
    let value = decode(&mut reader, ty, &Path::root("v")).map_err(|refused| refused.to_string())?;
    reader.finish().map_err(|error| error.to_string())?;
    Ok(value)
}

fn write(ty: &Wit, value: &Val) -> String {
    let mut out = Vec::new();
    encode(value, ty, &mut out, &Path::root("v")).unwrap();
    String::from_utf8(out).unwrap()
}

/// Reads `text` as `ty`, and writes it again the same.
fn both(ty: &Wit, text: &str, value: &Val) {
    assert_eq!(read(ty, text).unwrap(), *value, "{ty} from {text}");
    assert_eq!(write(ty, value), text, "{ty} to JSON");
}

fn refused(ty: &Wit, text: &str, why: &str) {
    assert_eq!(read(ty, text).unwrap_err(), why, "{ty} from {text}");
}

fn option(ty: Wit) -> Wit {
    Wit::Option(Box::new(ty))
}

fn some(value: Val) -> Val {
    Val::Option(Some(Box::new(value)))
}

fn point() -> Wit {
    Wit::Record(vec![("x".into(), Wit::S32), ("label".into(), option(Wit::String))])
}

fn shape() -> Wit {
    Wit::Variant(vec![("dot".into(), None), ("circle".into(), Some(Wit::F64)), ("at".into(), Some(point()))])
}

#[test]
fn integers_hold_at_their_bounds_and_not_past_them() {
    both(&Wit::U8, "255", &Val::U8(255));
    both(&Wit::S8, "-128", &Val::S8(-128));
    both(&Wit::U16, "65535", &Val::U16(65_535));
    both(&Wit::S16, "-32768", &Val::S16(-32_768));
    both(&Wit::U32, "4294967295", &Val::U32(u32::MAX));
    both(&Wit::S32, "-2147483648", &Val::S32(i32::MIN));
    both(&Wit::U64, "18446744073709551615", &Val::U64(u64::MAX));
    both(&Wit::S64, "-9223372036854775808", &Val::S64(i64::MIN));
    refused(&Wit::U8, "256", "v: expected u8 (0 to 255), found number 256");
    refused(&Wit::U8, "-1", "v: expected u8 (0 to 255), found number -1");
    refused(&Wit::S8, "128", "v: expected s8 (-128 to 127), found number 128");
    let wide = "18446744073709551616";
    refused(&Wit::U64, wide, &format!("v: expected u64 (0 to {}), found number {wide}", u64::MAX));
}

#[test]
fn integers_are_not_rounded() {
    refused(&Wit::U64, "1.0", "v: expected u64, found number 1.0");
    refused(&Wit::U64, "1e3", "v: expected u64, found number 1e3");
    refused(&Wit::U64, "\"x\"", "v: expected u64, found string \"x\"");
    refused(&Wit::U64, "null", "v: expected u64, found null");
}

#[test]
fn only_wide_integers_come_as_strings() {
    assert_eq!(read(&Wit::U64, "\"18446744073709551615\"").unwrap(), Val::U64(u64::MAX));
    assert_eq!(read(&Wit::S64, "\"-5\"").unwrap(), Val::S64(-5));
    refused(&Wit::U32, "\"5\"", "v: expected u32, found string \"5\"");
    for odd in ["\"+5\"", "\" 5\"", "\"05\"", "\"\"", "\"5.0\"", "\"-\""] {
        refused(&Wit::S64, odd, &format!("v: expected s64, found string {odd}"));
    }
}

#[test]
fn floats_keep_every_bit_and_refuse_what_json_cannot_hold() {
    both(&Wit::F64, "0.1", &Val::Float64(0.1));
    both(&Wit::F32, "0.1", &Val::Float32(0.1));
    both(&Wit::F64, "-0.0", &Val::Float64(-0.0));
    assert_eq!(read(&Wit::F64, "5").unwrap(), Val::Float64(5.0));
    refused(&Wit::F64, "1e999", "v: expected f64 within its range, found number 1e999");
    refused(&Wit::F32, "1e39", "v: expected f32 within its range, found number 1e39");
    refused(&Wit::F64, "\"NaN\"", "v: expected f64, found string \"NaN\"");
    let nan = encode(&Val::Float64(f64::NAN), &Wit::F64, &mut Vec::new(), &Path::root("v")).unwrap_err();
    assert_eq!(nan.to_string(), "v: NaN has no JSON form");
    let infinite =
        encode(&Val::Float32(f32::INFINITY), &Wit::F32, &mut Vec::new(), &Path::root("v")).unwrap_err();
    assert_eq!(infinite.to_string(), "v: inf has no JSON form");
}

#[test]
fn plain_types() {
    both(&Wit::Bool, "true", &Val::Bool(true));
    both(&Wit::Bool, "false", &Val::Bool(false));
    both(&Wit::String, "\"a\\\"ü\\n日\"", &Val::String("a\"ü\n日".into()));
    both(&Wit::Char, "\"日\"", &Val::Char('日'));
    refused(&Wit::Bool, "1", "v: expected bool, found number 1");
    refused(&Wit::Char, "\"ab\"", "v: expected char (a string of one character), found string \"ab\"");
    refused(&Wit::Char, "\"\"", "v: expected char (a string of one character), found string \"\"");
    refused(&Wit::String, "{}", "v: expected string, found an object");
}

#[test]
fn strings_take_every_escape() {
    let read = |text| read(&Wit::String, text);
    assert_eq!(read(r#""\u00e9\/\b\f\t\r""#).unwrap(), Val::String("é/\u{8}\u{c}\t\r".into()));
    assert_eq!(read(r#""\ud83d\ude00""#).unwrap(), Val::String("😀".into()));
    for bad in
        [r#""\ud83d""#, r#""\ude00\ud83d""#, r#""\u12""#, r#""\x""#, "\"\n\"", "\"", "\"\\", r#""\u12G4""#]
    {
        assert!(read(bad).unwrap_err().starts_with("not JSON: "), "{bad}");
    }
}

#[test]
fn bytes_are_base64() {
    both(&Wit::Bytes, "\"AP8=\"", &Val::List(vec![Val::U8(0), Val::U8(255)]));
    both(&Wit::Bytes, "\"\"", &Val::List(vec![]));
    refused(&Wit::Bytes, "[1]", "v: expected list<u8> as base64 text, found an array");
    assert!(
        read(&Wit::Bytes, "\"AP8\"")
            .unwrap_err()
            .contains("expected list<u8> as base64 text, found string \"AP8\"")
    );
}

#[test]
fn lists_and_tuples_are_arrays() {
    let list = Wit::List(Box::new(Wit::U8));
    both(&Wit::List(Box::new(Wit::U16)), "[1,2]", &Val::List(vec![Val::U16(1), Val::U16(2)]));
    both(&list, "[]", &Val::List(vec![]));
    refused(&list, "[1,\"x\"]", "v[1]: expected u8, found string \"x\"");
    let tuple = Wit::Tuple(vec![Wit::U8, Wit::String]);
    both(&tuple, "[1,\"a\"]", &Val::Tuple(vec![Val::U8(1), Val::String("a".into())]));
    refused(&tuple, "[1]", "v: expected tuple<u8, string>, found only 1 items");
    refused(&tuple, "[1,\"a\",2]", "v: expected tuple<u8, string>, found more items than that");
    for bad in ["[1,]", "[,1]", "[1 2]", "[1", "[1}"] {
        assert!(read(&list, bad).is_err(), "{bad}");
    }
}

#[test]
fn records_are_objects_with_exactly_their_fields() {
    let full = Val::Record(vec![("x".into(), Val::S32(1)), ("label".into(), some(Val::String("a".into())))]);
    both(&point(), "{\"x\":1,\"label\":\"a\"}", &full);
    assert_eq!(read(&point(), " { \"label\" : \"a\" , \"x\" : 1 } ").unwrap(), full);
    let bare = Val::Record(vec![("x".into(), Val::S32(1)), ("label".into(), Val::Option(None))]);
    assert_eq!(read(&point(), "{\"x\":1}").unwrap(), bare);
    assert_eq!(write(&point(), &bare), "{\"x\":1,\"label\":null}");
    refused(&point(), "{}", "v.x: missing, expected s32");
    refused(&point(), "{\"x\":1,\"y\":2}", "v.y: unknown field, expected x: s32, label: option<string>");
    refused(&point(), "{\"x\":1,\"x\":2}", "v.x: given twice");
    refused(&point(), "{\"x\":\"1\"}", "v.x: expected s32, found string \"1\"");
}

#[test]
fn variants_name_their_case() {
    both(&shape(), "\"dot\"", &Val::Variant("dot".into(), None));
    both(&shape(), "{\"circle\":1.5}", &Val::Variant("circle".into(), Some(Box::new(Val::Float64(1.5)))));
    assert_eq!(read(&shape(), "{\"dot\":null}").unwrap(), Val::Variant("dot".into(), None));
    let ty = shape().to_string();
    refused(
        &shape(),
        "\"circle\"",
        &format!("v: expected {ty}, found string \"circle\" without its payload"),
    );
    refused(&shape(), "{\"star\":1}", &format!("v: expected {ty}, found the case \"star\""));
    refused(&shape(), "{}", &format!("v: expected {ty}, found an empty object"));
    refused(
        &shape(),
        "{\"dot\":null,\"at\":1}",
        &format!("v: expected {ty}, found an object with more than one member"),
    );
    refused(&shape(), "{\"dot\":1}", "v.dot: expected null, found number 1");
    refused(&shape(), "{\"at\":{\"x\":true}}", "v.at.x: expected s32, found true");
}

#[test]
fn enums_and_flags_are_strings() {
    let names = vec!["red".to_owned(), "dark-blue".to_owned()];
    both(&Wit::Enum(names.clone()), "\"dark-blue\"", &Val::Enum("dark-blue".into()));
    refused(
        &Wit::Enum(names.clone()),
        "\"blue\"",
        "v: expected enum { red, dark-blue }, found string \"blue\"",
    );
    let flags = Wit::Flags(names);
    both(&flags, "[\"red\",\"dark-blue\"]", &Val::Flags(vec!["red".into(), "dark-blue".into()]));
    both(&flags, "[]", &Val::Flags(vec![]));
    assert_eq!(read(&flags, "[\"red\",\"red\"]").unwrap(), Val::Flags(vec!["red".into()]));
    refused(&flags, "[\"red\",\"x\"]", "v[1]: expected flags { red, dark-blue }, found string \"x\"");
}

#[test]
fn nested_options_tell_none_from_some_none() {
    let ty = option(option(Wit::U8));
    both(&ty, "null", &Val::Option(None));
    both(&ty, "{\"some\":null}", &some(Val::Option(None)));
    both(&ty, "{\"some\":3}", &some(some(Val::U8(3))));
    refused(&ty, "3", "v: expected option<option<u8>> as null or {\"some\": ...}, found number 3");
    both(&option(Wit::U8), "3", &some(Val::U8(3)));
}

#[test]
fn nested_results_say_which() {
    let ty = Wit::Result(Some(Box::new(Wit::U8)), None);
    both(&ty, "{\"ok\":3}", &Val::Result(Ok(Some(Box::new(Val::U8(3))))));
    both(&ty, "{\"err\":null}", &Val::Result(Err(None)));
    refused(&ty, "3", "v: expected result<u8> as {\"ok\": ...} or {\"err\": ...}, found number 3");
}

/// A signature's arguments, with all the room in the world.
fn arguments(signature: &Signature, body: &[u8], form: Form) -> Result<Vec<Val>, Problem> {
    signature.arguments(body, form, usize::MAX).map(|(arguments, _)| arguments)
}

fn invalid(problem: &Problem) -> &str {
    assert_eq!(problem.kind(), Code::Invalid);
    &problem.detail
}

#[test]
fn arguments_come_by_name_or_in_order() {
    let two = signature(&[("a", Wit::U64), ("b", option(Wit::String))], None);
    let json = |text: &str| arguments(&two, text.as_bytes(), Form::Json);
    let values = vec![Val::U64(1), some(Val::String("x".into()))];
    assert_eq!(json("{\"b\":\"x\",\"a\":1}").unwrap(), values);
    assert_eq!(json("[1,\"x\"]").unwrap(), values);
    assert_eq!(json("[1]").unwrap(), vec![Val::U64(1), Val::Option(None)]);
    assert_eq!(invalid(&json("").unwrap_err()), "a: missing, expected u64");
    assert_eq!(invalid(&json("[1,\"x\",2]").unwrap_err()), "too many arguments, expected 2");
    assert_eq!(
        invalid(&json("{\"a\":1,\"c\":2}").unwrap_err()),
        "c: unknown parameter, expected a: u64, b: option<string>"
    );
    assert_eq!(invalid(&json("{\"a\":\"x\"}").unwrap_err()), "a: expected u64, found string \"x\"");
    assert_eq!(json("{\"a\":\"x\"}").unwrap_err().hint, "the parameters are (a: u64, b: option<string>)");
    assert!(invalid(&json("5").unwrap_err()).ends_with("or an array in their order, found number 5"));
    assert_eq!(invalid(&json("{\"a\":1} x").unwrap_err()), "not JSON: more text after the value at byte 8");
    assert_eq!(
        invalid(&arguments(&two, &[b'[', 0xff], Form::Json).unwrap_err()),
        "the body is not UTF-8 at byte 1"
    );
}

#[test]
fn a_list_or_record_as_the_only_argument_has_its_own_brackets() {
    let list = signature(&[("xs", Wit::List(Box::new(Wit::U32)))], None);
    assert_eq!(arguments(&list, b"[[1]]", Form::Json).unwrap(), vec![Val::List(vec![Val::U32(1)])]);
    let error = arguments(&list, b"[1]", Form::Json).unwrap_err();
    assert_eq!(invalid(&error), "xs: expected list<u32>, found number 1");
    let record = signature(&[("p", point())], None);
    assert!(arguments(&record, b"{\"p\":{\"x\":1}}", Form::Json).is_ok());
    assert!(arguments(&record, b"{\"x\":1}", Form::Json).is_err());
}

#[test]
fn an_empty_body_is_no_arguments() {
    for body in ["", " \n", "{}", "[]"] {
        assert_eq!(arguments(&signature(&[], None), body.as_bytes(), Form::Json).unwrap(), vec![]);
        let all_options = signature(&[("a", option(Wit::U8))], None);
        assert_eq!(arguments(&all_options, body.as_bytes(), Form::Json).unwrap(), vec![Val::Option(None)]);
    }
    assert_eq!(arguments(&signature(&[], None), b"", Form::Raw).unwrap(), vec![]);
}

#[test]
fn a_raw_body_goes_to_a_sole_list_of_bytes() {
    let raw = signature(&[("data", Wit::Bytes)], None);
    assert_eq!(
        arguments(&raw, &[0, 255], Form::Raw).unwrap(),
        vec![Val::List(vec![Val::U8(0), Val::U8(255)])]
    );
    assert_eq!(arguments(&raw, b"", Form::Raw).unwrap(), vec![Val::List(vec![])]);
    assert_eq!(
        arguments(&raw, b"{\"data\":\"AP8=\"}", Form::Json).unwrap(),
        arguments(&raw, &[0, 255], Form::Raw).unwrap()
    );
    let other = signature(&[("data", Wit::String)], None);
    assert!(invalid(&arguments(&other, b"x", Form::Raw).unwrap_err()).starts_with("a raw body needs"));
}

/// A short text may stand for much: each is counted for what it becomes, before it does.
#[test]
fn arguments_take_no_more_than_there_is_room_for() {
    const MIB: usize = 1024 * 1024;
    let wide: Vec<_> = (0..500).map(|n| (format!("field-{n}"), option(Wit::U8))).collect();
    let list = |item: Wit| Wit::List(Box::new(item));
    let cases = [
        (list(Wit::Record(wide)), "{}"),
        (list(list(Wit::U8)), "[]"),
        (list(Wit::U8), "1"),
        (list(Wit::String), "\"\""),
        (list(option(Wit::U8)), "null"),
        (list(Wit::Flags(vec!["a".into()])), "[\"a\"]"),
        (list(Wit::Enum(vec!["a".into()])), "\"a\""),
        (list(Wit::Tuple(vec![Wit::U8])), "[1]"),
        (list(Wit::Bytes), "\"AAAAAAAA\""),
    ];
    for (ty, item) in cases {
        let signature = signature(&[("v", ty)], None);
        let few = format!("[[{}]]", [item; 3].join(","));
        let (_, taken) = signature.arguments(few.as_bytes(), Form::Json, MIB).unwrap();
        assert!(taken >= 3 * size_of::<Val>(), "{item}: {taken}");
        let many = format!("[[{}]]", vec![item; MIB / (item.len() + 1)].join(","));
        let problem = signature.arguments(many.as_bytes(), Form::Json, 4 * MIB).unwrap_err();
        assert_eq!(problem.kind(), Code::PayloadTooLarge, "{item}: {problem}");
        assert_eq!(problem.detail, "the arguments take more than 4 MiB of the host's memory");
    }
    let raw = signature(&[("data", Wit::Bytes)], None);
    assert!(raw.arguments(&[0; 1024], Form::Raw, MIB).is_ok());
    let problem = raw.arguments(&vec![0; MIB], Form::Raw, MIB).unwrap_err();
    assert_eq!(problem.kind(), Code::PayloadTooLarge);
}

#[test]
fn results_leave_as_they_should() {
    let json = |payload: &str| Output { payload: Some(payload.to_owned().into()), form: Form::Json };
    let none = Output { payload: None, form: Form::Json };
    let number = signature(&[], Some(Wit::U64));
    assert_eq!(number.reply(Some(&Val::U64(5)), Form::Raw).unwrap(), json("5"));
    assert_eq!(signature(&[], None).reply(None, Form::Json).unwrap(), none);
    let maybe = signature(&[], Some(option(Wit::U8)));
    assert_eq!(maybe.reply(Some(&Val::Option(None)), Form::Json).unwrap(), json("null"));
    let bytes = signature(&[], Some(Wit::Bytes));
    let value = Val::List(vec![Val::U8(0), Val::U8(255)]);
    assert_eq!(bytes.reply(Some(&value), Form::Json).unwrap(), json("\"AP8=\""));
    let raw = Output { payload: Some(vec![0, 255].into()), form: Form::Raw };
    assert_eq!(bytes.reply(Some(&value), Form::Raw).unwrap(), raw);
    let unit = signature(&[], Some(Wit::Result(None, Some(Box::new(Wit::String)))));
    assert_eq!(unit.reply(Some(&Val::Result(Ok(None))), Form::Json).unwrap(), none);
}

#[test]
fn a_functions_own_error_is_a_problem_with_its_json() {
    let ty = Wit::Result(Some(Box::new(Wit::Bytes)), Some(Box::new(shape())));
    let fails = signature(&[], Some(ty));
    let error =
        Val::Result(Err(Some(Box::new(Val::Variant("circle".into(), Some(Box::new(Val::Float64(2.0))))))));
    let problem = fails.reply(Some(&error), Form::Json).unwrap_err();
    assert_eq!((problem.kind(), problem.error.as_str()), (Code::FunctionError, "{\"circle\":2.0}"));
    let ok = Val::Result(Ok(Some(Box::new(Val::List(vec![Val::U8(1)])))));
    assert_eq!(fails.reply(Some(&ok), Form::Raw).unwrap().form, Form::Raw);
    let unit = signature(&[], Some(Wit::Result(None, None)));
    assert_eq!(unit.reply(Some(&Val::Result(Err(None))), Form::Json).unwrap_err().error, "null");
}

#[test]
fn types_print_as_wit() {
    let flags = Wit::Flags(vec!["read".into(), "run".into()]);
    let ty = Wit::Tuple(vec![
        Wit::Result(None, None),
        Wit::Result(Some(Box::new(Wit::U8)), Some(Box::new(Wit::Bytes))),
        Wit::Result(None, Some(Box::new(flags))),
        shape(),
    ]);
    let text = "tuple<result, result<u8, list<u8>>, result<_, flags { read, run }>, \
                variant { dot, circle(f64), at(record { x: s32, label: option<string> }) }>";
    assert_eq!(ty.to_string(), text);
}

//! Gives back what it gets; `oprc bench` measures calls with it.

wit_bindgen::generate!({ path: "echo.wit", world: "echo" });

struct Echo;

impl Guest for Echo {
    fn echo(data: Vec<u8>) -> Vec<u8> {
        data
    }

    fn echo_text(text: String) -> String {
        text
    }

    fn nothing() {}
}

export!(Echo);

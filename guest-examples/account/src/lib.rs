//! An account per object. Its balance is the field `balance`, and every accepted transfer is counted in `transfers`.

use exports::example::account::account::{Error, Guest, Shortfall};
use oprc::odgm::{context, fields, objects};

wit_bindgen::generate!({ path: ["../../wit", "account.wit"], world: "example:account/bank", generate_all });

const BALANCE: &str = "balance";
const TRANSFERS: &str = "transfers";

struct Account;

/// The balance as it is within this turn.
fn balance() -> i64 {
    let Some(text) = fields::get(BALANCE) else { return 0 };
    let text = String::from_utf8(text).expect("the balance is text");
    text.parse().expect("the balance is a number")
}

fn signed(amount: u64) -> Result<i64, Error> {
    i64::try_from(amount).map_err(|_| Error::TooLarge)
}

impl Guest for Account {
    fn deposit(amount: u64) -> Result<u64, Error> {
        let sum = balance().checked_add(signed(amount)?).ok_or(Error::TooLarge)?;
        fields::set(BALANCE, sum.to_string().as_bytes());
        fields::increment(TRANSFERS, 1);
        Ok(sum.unsigned_abs())
    }

    fn withdraw(amount: u64) -> Result<u64, Error> {
        let before = balance();
        // Written first, checked afterwards: a turn that returns an error leaves no trace, so there is nothing to undo.
        fields::increment(TRANSFERS, 1);
        let after = fields::increment(BALANCE, -signed(amount)?);
        if after < 0 {
            return Err(Error::Overdraft(Shortfall { balance: before.unsigned_abs(), wanted: amount }));
        }
        Ok(after.unsigned_abs())
    }

    fn transfer(to: String, amount: u64) -> Result<u64, Error> {
        let left = Self::withdraw(amount)?;
        let me = context::self_().expect("a method has an object");
        let other = objects::ObjectRef { id: to, ..me };
        let payload = format!("{{\"amount\": {amount}}}");
        match objects::invoke(&other, "deposit", payload.as_bytes()) {
            Ok(_) => Ok(left),
            // Nothing was paid in, so nothing may be taken out: an error drops the withdrawal, which was only buffered.
            // Where nobody knows whether it was paid in, the call does not return at all: the turn ends, and finds out when
            // it is run again.
            Err(objects::Error::Failed(error)) => Err(Error::Refused(error)),
            Err(objects::Error::Problem(problem)) => Err(Error::Refused(problem.detail)),
        }
    }

    fn balance() -> u64 {
        balance().unsigned_abs()
    }
}

export!(Account);

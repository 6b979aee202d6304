//! Accounts that pay each other, and what must hold of them whatever fails meanwhile.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::Rng as _;
use rand::rngs::StdRng;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::{Call, Class, Ingress, Object, Reply, within};

/// What every account begins with.
const BALANCE: i64 = 50;
/// Transfers at a time. Each holds an account while it waits for another: where all accounts have long queues of them, what
/// they wait for comes last in every queue, and none is made in time.
const LANES: usize = 6;
/// Until a transfer is answered.
const PATIENCE: Duration = Duration::from_mins(2);

/// A class of accounts: `a0`, `a1` and so on.
#[derive(Clone)]
pub struct Bank {
    /// The class.
    pub class: Class,
    accounts: usize,
}

/// A transfer from one account to another, and whether it was made.
#[derive(Debug, Clone)]
pub struct Transfer {
    from: usize,
    to: usize,
    amount: i64,
    key: String,
    made: bool,
}

/// Tries until there is a definite answer, always under the same key.
async fn answered(what: &str, call: &Call) -> Reply {
    within(PATIENCE, &format!("{what} is made or refused"), || async {
        let reply = call.clone().try_send().await.ok()?;
        assert!([200, 422, 429, 503, 504].contains(&reply.status), "{reply:?} for {what}");
        matches!(reply.status, 200 | 422).then_some(reply)
    })
    .await
}

impl Bank {
    /// Opens it, with the component of the example `account`. Two that pay each other at the same time wait for each
    /// other: soon enough they try again.
    pub async fn open(at: &impl Ingress, component: Bytes, accounts: usize) -> Self {
        let manifest = "readonly = [\"balance\"]\n[class.limits]\nwall_ms = 1_000";
        let class = Class::deploy(at, "Account", component, manifest).await;
        let bank = Self { class, accounts };
        for n in 0..accounts {
            let deposit = bank.account(n).method("deposit").json(&json!({ "amount": BALANCE }));
            let deposit = deposit.header("idempotency-key", "first");
            answered("a deposit", &deposit).await.expect(200);
        }
        bank
    }

    fn account(&self, n: usize) -> Object {
        self.class.object(format!("a{n}"))
    }

    /// Begins so many transfers between accounts at random, spread over about `spread`.
    pub fn transfers(&self, count: usize, spread: Duration, random: &mut StdRng) -> JoinSet<Transfer> {
        let mut transfers = JoinSet::new();
        let lanes = Arc::new(Semaphore::new(LANES));
        for number in 0..count {
            let from = random.random_range(0..self.accounts);
            let to = (from + random.random_range(1..self.accounts)) % self.accounts;
            let (amount, key) = (random.random_range(1..BALANCE), format!("transfer-{number}"));
            let pause = spread.mul_f64(random.random_range(0.0..1.0));
            let (bank, transfer) = (self.clone(), Transfer { from, to, amount, key, made: false });
            let lanes = lanes.clone();
            transfers.spawn(async move {
                tokio::time::sleep(pause).await;
                let _lane = lanes.acquire_owned().await.expect("nobody closes them");
                bank.make(transfer).await
            });
        }
        transfers
    }

    async fn make(&self, transfer: Transfer) -> Transfer {
        let arguments = json!({ "to": self.account(transfer.to).id, "amount": transfer.amount });
        let call = self.account(transfer.from).method("transfer").json(&arguments);
        let call = call.header("idempotency-key", &transfer.key).header("x-request-timeout-ms", 3_000);
        let status = answered(&format!("{transfer:?}"), &call).await.status;
        Transfer { made: status == 200, ..transfer }
    }

    /// Each transfer that was answered with success was made once, the others were not, and no money came or went.
    ///
    /// # Panics
    /// When that does not hold.
    pub async fn check(&self, transfers: &[Transfer]) {
        let mut expected = vec![(BALANCE, 1); self.accounts];
        for transfer in transfers.iter().filter(|transfer| transfer.made) {
            for (account, amount) in [(transfer.from, -transfer.amount), (transfer.to, transfer.amount)] {
                expected[account].0 += amount;
                expected[account].1 += 1; // the account counts what it takes part in
            }
        }
        let mut found = Vec::new();
        for n in 0..self.accounts {
            let fields = self.account(n).fields().await;
            let number = |field: &str| fields[field].as_i64().expect("a number");
            found.push((number("balance"), number("transfers")));
        }
        assert_eq!(found, expected, "balances and counts; {transfers:?}");
        assert!(transfers.iter().any(|transfer| transfer.made), "some were made");
    }
}

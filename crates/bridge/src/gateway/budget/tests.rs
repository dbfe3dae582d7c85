use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

use nuncio::Config;

use super::*;

fn budgets(text: &str) -> Budgets {
    toml::from_str(text).unwrap()
}

fn hard(what: &str, limit: u64) -> Budgets {
    budgets(&format!("[{what}]\nmode = \"hard\"\nlimit = {limit}\nper = \"day\""))
}

async fn agent(home: &Path) -> Agent {
    Agent::open(Config::new(home)).await.unwrap()
}

async fn of_many(book: &Arc<Book>, tokens: u64) -> usize {
    let asked: Vec<_> = (0..100)
        .map(|_| {
            let book = Arc::clone(book);
            tokio::spawn(async move { book.reserve_for("user:anna", tokens).await.is_ok() })
        })
        .collect();
    let mut passed = 0;
    for one in asked {
        passed += usize::from(one.await.unwrap());
    }
    passed
}

/// contracts/gateway.md W14.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_hundred_at_once_those_pass_that_fit() {
    let dir = tempfile::tempdir().unwrap();
    let agent = agent(dir.path()).await;
    let book = Arc::new(Book::open(agent.clone(), hard("requests", 10)).await.unwrap());
    assert_eq!(of_many(&book, 0).await, 10);
    let over = book.reserve_for("user:anna", 0).await.unwrap_err();
    assert!(matches!(over, NotReserved::Over { ends_in_s: 1..=86_400 }), "{over:?}");
    assert!(book.reserve_for("user:ben", 0).await.is_ok(), "another's is another's");
    let book = Arc::new(Book::open(agent.clone(), hard("tokens", 70)).await.unwrap());
    assert_eq!(of_many(&book, 7).await, 10);
    assert!(book.reserve_for("user:anna", 0).await.is_ok(), "a letter uses no tokens");
    agent.shutdown().await.unwrap();
}

/// contracts/gateway.md W15.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_settled_was_used_also_after_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let one = agent(dir.path()).await;
    let book = Book::open(one.clone(), hard("tokens", 100)).await.unwrap();
    book.reserve_for("user:anna", 40).await.unwrap().settle(10).await;
    drop(book.reserve_for("user:anna", 60).await.unwrap());
    assert!(book.reserve_for("user:anna", 31).await.is_err());
    one.shutdown().await.unwrap();

    let two = agent(dir.path()).await;
    let book = Book::open(two.clone(), hard("tokens", 100)).await.unwrap();
    assert!(book.reserve_for("user:anna", 31).await.is_err(), "10 and 60 were used");
    // What was used counts, also where it is more than was reserved.
    book.reserve_for("user:anna", 20).await.unwrap().settle(30).await;
    assert!(book.reserve_for("user:anna", 1).await.is_err());
    two.shutdown().await.unwrap();
}

static NOW_S: AtomicU64 = AtomicU64::new(86_400 * 20_000 + 86_399);

#[tokio::test(flavor = "multi_thread")]
async fn a_period_ends_and_what_is_settled_behind_its_end_is_of_none() {
    let dir = tempfile::tempdir().unwrap();
    let agent = agent(dir.path()).await;
    let book = Book::with_clock(agent.clone(), hard("tokens", 10), || NOW_S.load(SeqCst)).await.unwrap();
    let before = book.reserve_for("user:anna", 10).await.unwrap();
    assert_eq!(book.reserve_for("user:anna", 1).await.unwrap_err(), NotReserved::Over { ends_in_s: 1 });
    NOW_S.fetch_add(1, SeqCst);
    let after = book.reserve_for("user:anna", 10).await.unwrap();
    before.settle(0).await;
    assert!(book.reserve_for("user:anna", 1).await.is_err(), "what is of yesterday gives nothing back today");
    after.settle(0).await;
    assert!(book.reserve_for("user:anna", 10).await.is_ok());
    agent.shutdown().await.unwrap();
}

static BACK_S: AtomicU64 = AtomicU64::new(86_400 * 20_000 + 10);

/// contracts/gateway.md W13.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_put_back_begins_no_period_anew() {
    let dir = tempfile::tempdir().unwrap();
    let agent = agent(dir.path()).await;
    let book = Book::with_clock(agent.clone(), hard("requests", 3), || BACK_S.load(SeqCst)).await.unwrap();
    let asks = async || book.reserve_for("user:anna", 0).await;
    asks().await.unwrap();
    BACK_S.fetch_sub(20, SeqCst);
    asks().await.unwrap();
    BACK_S.fetch_add(20, SeqCst);
    asks().await.unwrap();
    assert_eq!(asks().await.unwrap_err(), NotReserved::Over { ends_in_s: 86_390 });
    BACK_S.fetch_sub(20, SeqCst);
    assert_eq!(asks().await.unwrap_err(), NotReserved::Over { ends_in_s: 86_410 });
    // One that was a year ahead shuts nobody out for a year.
    BACK_S.fetch_add(86_400 * 365, SeqCst);
    asks().await.unwrap();
    BACK_S.fetch_sub(86_400 * 365, SeqCst);
    asks().await.unwrap();
    asks().await.unwrap();
    let over = asks().await.unwrap_err();
    assert!(matches!(over, NotReserved::Over { ends_in_s: 1..=86_400 }), "{over:?}");
    agent.shutdown().await.unwrap();
}

static MIDNIGHT_S: u64 = 86_400 * 20_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_day_s_use_is_not_an_hour_s() {
    let dir = tempfile::tempdir().unwrap();
    let agent = agent(dir.path()).await;
    let book = Book::with_clock(agent.clone(), hard("requests", 1), || MIDNIGHT_S).await.unwrap();
    book.reserve_for("user:anna", 0).await.unwrap();
    let of_an_hour = budgets("[requests]\nmode = \"hard\"\nlimit = 1\nper = \"hour\"");
    let book = Book::with_clock(agent.clone(), of_an_hour, || MIDNIGHT_S).await.unwrap();
    book.reserve_for("user:anna", 0).await.unwrap();
    assert!(book.reserve_for("user:anna", 0).await.is_err());
    agent.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_bound_past_periods_go_in_pieces_and_none_of_now() {
    let dir = tempfile::tempdir().unwrap();
    let agent = agent(dir.path()).await;
    let (sender, _asked) = mpsc::channel(1);
    let (most, now_s) = (2 * limit::GATEWAY_PRINCIPALS_MAX, 86_400 * 20_000);
    let of = |start_s| Used { start_s, period_s: 86_400, used: 1 };
    let keeper = |start_s| Keeper {
        agent: agent.clone(),
        budgets: hard("requests", 1),
        now_s: || 86_400 * 20_000,
        used: (0..most).map(|one| ((What::Requests, one.to_string()), of(start_s))).collect(),
        before: BTreeMap::new(),
        me: sender.downgrade(),
    };
    let mut past = keeper(now_s - 86_400);
    past.reserve("user:anna".to_owned(), 0).unwrap();
    assert_eq!(past.before.len(), GO_TOGETHER + 1);
    assert_eq!(keeper(now_s).reserve("user:anna".to_owned(), 0).unwrap_err(), NotReserved::Full);
    agent.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_warns_passes_and_what_is_off_is_not_counted() {
    let dir = tempfile::tempdir().unwrap();
    let agent = agent(dir.path()).await;
    let warns = budgets("[requests]\nmode = \"warn\"\nlimit = 1\nper = \"hour\"");
    let book = Book::open(agent.clone(), warns).await.unwrap();
    for _ in 0..3 {
        assert!(book.reserve_for("user:anna", 5).await.is_ok());
    }
    let kept = agent.kept().await.unwrap();
    assert_eq!(kept.len(), 1);
    assert_eq!(read(&kept[0].0, &kept[0].1).unwrap().1.used, 3);
    let off = budgets("[tokens]\nmode = \"off\"\nlimit = 1\nper = \"hour\"");
    let book = Book::open(agent.clone(), off).await.unwrap();
    assert!(book.reserve_for("user:anna", 5).await.is_ok());
    assert_eq!(agent.kept().await.unwrap().len(), 1);
    agent.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_written_down_is_not_reserved() {
    let dir = tempfile::tempdir().unwrap();
    let agent = agent(dir.path()).await;
    let book = Book::open(agent.clone(), hard("requests", 10)).await.unwrap();
    agent.shutdown().await.unwrap();
    assert_eq!(book.reserve_for("user:anna", 0).await.unwrap_err(), NotReserved::Unwritten);
}

#[test]
fn a_budget_says_all_of_itself_or_is_refused() {
    for bad in [
        "[requests]\nmode = \"hard\"\nlimit = 1",
        "[requests]\nmode = \"soft\"\nlimit = 1\nper = \"day\"",
        "[requests]\nmode = \"hard\"\nlimit = -1\nper = \"day\"",
        "[requests]\nmode = \"hard\"\nlimit = 1\nper = \"week\"",
        "[money]\nmode = \"hard\"\nlimit = 1\nper = \"day\"",
    ] {
        assert!(toml::from_str::<Budgets>(bad).is_err(), "{bad}");
    }
}

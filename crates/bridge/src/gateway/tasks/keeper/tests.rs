use std::path::Path;

use nuncio::Config;
use serde_json::json;

use super::super::forms::{History, List};
use super::super::task::{Origin, Stage};
use super::*;

async fn agent(home: &Path) -> Agent {
    Agent::open(Config::new(home)).await.unwrap()
}

pub(super) fn task(no: u128, principal: &str, now_ms: u64) -> Arc<Task> {
    let (id, principal) = (Uuid::from_u128(no).hyphenated().to_string(), principal.to_owned());
    let (route, context, transaction) = ("ask".to_owned(), "c".to_owned(), "t".to_owned());
    Arc::new(Task::new(Origin { id, principal, route, context, transaction, asked: json!({ "n": 1 }) }, now_ms))
}

fn ids(keeper: &Keeper, principal: &str, now_ms: u64) -> Vec<u128> {
    let wanted = serde_json::from_value::<List>(json!({ "pageSize": 100 })).unwrap().check().unwrap();
    let (found, ..) = keeper.list(&wanted, principal, "ask", now_ms);
    found.iter().map(|task| Uuid::try_parse(&task.of.id).unwrap().as_u128()).collect()
}

/// contracts/gateway.md W34.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_there_after_a_start_and_what_worked_has_failed() {
    let dir = tempfile::tempdir().unwrap();
    let one = agent(dir.path()).await;
    let keeper = Keeper::open(one.clone(), 0).await.unwrap();
    let (ended, works) = (task(1, "anna", 1), task(2, "anna", 2));
    for task in [&ended, &works] {
        keeper.begin(task, 5).await.unwrap();
        task.works(6);
    }
    // Longer than one row, and then shorter.
    let long = "x".repeat(3 * CHUNK_LEN);
    ended.say(&long).unwrap();
    keeper.end(&ended, End::completed(None), 7).await;
    let told = ended.shown(History::All, true).0;
    drop(keeper);
    one.shutdown().await.unwrap();

    let one = agent(dir.path()).await;
    let keeper = Keeper::open(one.clone(), 9).await.unwrap();
    assert_eq!(keeper.find(&ended.of.id, "anna", "ask", 9).unwrap().shown(History::All, true).0, told);
    let failed = keeper.find(&works.of.id, "anna", "ask", 9).unwrap();
    assert_eq!(failed.stage(), Stage::Failed);
    assert!(
        failed.shown(History::All, true).0["status"]["message"]["parts"][0]["text"]
            .as_str()
            .unwrap()
            .contains("not known")
    );
    let rows = one.kept().await.unwrap().len();
    drop(keeper);
    // A day later nothing is left of them.
    let keeper = Keeper::open(one.clone(), 10 + limit::GATEWAY_TASK_LIFE_S * 1_000).await.unwrap();
    assert!(ids(&keeper, "anna", 0).is_empty());
    assert!(rows > 4 && one.kept().await.unwrap().is_empty());
    one.shutdown().await.unwrap();
}

/// contracts/gateway.md W35.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_its_principal_s_on_its_route() {
    let dir = tempfile::tempdir().unwrap();
    let agent = agent(dir.path()).await;
    let keeper = Keeper::open(agent.clone(), 0).await.unwrap();
    let own = task(1, "anna", 1);
    keeper.begin(&own, 1).await.unwrap();
    assert!(keeper.find(&own.of.id, "anna", "ask", 1).is_some());
    assert!(keeper.find(&own.of.id, "ben", "ask", 1).is_none());
    assert!(keeper.find(&own.of.id, "anna", "look", 1).is_none());
    assert!(ids(&keeper, "ben", 1).is_empty());
    agent.shutdown().await.unwrap();
    // Nobody is told of what is not on disk.
    let unwritten = task(2, "anna", 1);
    assert_eq!(keeper.begin(&unwritten, 1).await, Err(NotBegun::Unwritten));
    assert_eq!(ids(&keeper, "anna", 1), [1]);
}

/// contracts/gateway.md W36.
#[tokio::test(flavor = "multi_thread")]
async fn of_one_principal_so_many_work_and_the_oldest_that_has_ended_goes() {
    let dir = tempfile::tempdir().unwrap();
    let agent = agent(dir.path()).await;
    let keeper = Keeper::open(agent.clone(), 0).await.unwrap();
    let mut working = Vec::new();
    let most = u128::try_from(limit::GATEWAY_TASKS_WORKING_EACH_MAX).unwrap();
    for no in 1..=most {
        let one = task(no, "anna", 1);
        keeper.begin(&one, 1).await.unwrap();
        working.push(one);
    }
    assert_eq!(keeper.begin(&task(99, "anna", 1), 1).await, Err(NotBegun::Full));
    assert!(keeper.begin(&task(98, "ben", 1), 1).await.is_ok(), "another's room is another's");
    for (at, one) in (10..).zip(&working) {
        keeper.end(one, End::completed(None), at).await;
    }
    let most = u128::try_from(limit::GATEWAY_TASKS_EACH_MAX).unwrap();
    for no in 100..100 + most {
        let one = task(no, "anna", 1);
        keeper.begin(&one, 1).await.unwrap();
        keeper.end(&one, End::completed(None), u64::try_from(no).unwrap()).await;
    }
    assert!(keeper.find(&working[7].of.id, "anna", "ask", 1).is_none());
    assert_eq!(keeper.all().have().tasks, limit::GATEWAY_TASKS_EACH_MAX + 1);
    assert_eq!(ids(&keeper, "anna", 1)[0], 99 + most, "the newest is the first");
    assert_eq!(ids(&keeper, "ben", 1), [98]);
    agent.shutdown().await.unwrap();
}

/// contracts/gateway.md W36.
#[test]
fn who_has_most_makes_room_for_others() {
    let mut all = Held::default();
    let mut put = |no: u128, principal: &str, bytes: usize, is_over: bool| {
        let over_ms = is_over.then(|| u64::try_from(no).unwrap());
        all.insert(Entry { task: task(no, principal, 1), chunks: 1, bytes, is_known: true, over_ms });
    };
    put(1, "anna", 10, true);
    for no in 2..20 {
        put(no, "ben", limit::GATEWAY_TASKS_BYTES_MAX / 18, true);
    }
    put(20, "carol", limit::GATEWAY_TASKS_BYTES_MAX, false);
    let mut place = Place::default();
    assert_eq!(make_room(&mut all, "dora", &mut place), Err(NotBegun::Full), "what works stays");
    place.gone.drain(..).for_each(|entry| all.insert(entry));
    all.remove(&task(20, "carol", 1).of.id);
    make_room(&mut all, "dora", &mut Place::default()).unwrap();
    let left = |principal: &str| {
        let own = all.values().filter(|entry| entry.task.of.principal == principal);
        own.filter_map(|entry| entry.over_ms).min()
    };
    assert_eq!((left("anna"), left("ben")), (Some(1), Some(3)));
}

/// contracts/gateway.md W36.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_counts_as_what_it_is_in_memory_and_an_end_that_is_too_long_is_told_as_that() {
    let dir = tempfile::tempdir().unwrap();
    let agent = agent(dir.path()).await;
    let keeper = Keeper::open(agent.clone(), 0).await.unwrap();
    let parts = |count: usize| End::completed(Some(vec![json!({ "data": {} }); count]));
    let (some, many) = (task(1, "anna", 1), task(2, "anna", 1));
    for (one, count) in [(&some, 500), (&many, 5_000)] {
        keeper.begin(one, 1).await.unwrap();
        keeper.end(one, parts(count), 2).await;
    }
    assert_eq!(some.stage(), Stage::Completed);
    let bytes = |one: &Task| keeper.all().get(&one.of.id).unwrap().bytes;
    assert!(bytes(&some) > 500 * 1_000, "{}", bytes(&some));
    let told = many.shown(History::All, true).0;
    assert_eq!((many.stage(), told.get("artifacts")), (Stage::Failed, None));
    assert!(told["status"]["message"]["parts"][0]["text"].as_str().unwrap().contains("it was done"), "{told}");
    assert!(bytes(&many) < 4_000);
    let counted = bytes(&some);
    drop(keeper);
    let keeper = Keeper::open(agent.clone(), 3).await.unwrap();
    assert_eq!(keeper.all().get(&some.of.id).unwrap().bytes, counted, "after a start too");
    agent.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_ends_before_it_is_too_long_to_be_held() {
    let dir = tempfile::tempdir().unwrap();
    let agent = agent(dir.path()).await;
    let keeper = Keeper::open(agent.clone(), 0).await.unwrap();
    for (no, bytes) in [(1, 10), (2, PAGE_BYTES), (3, PAGE_BYTES - 10), (4, 10)] {
        let task = task(no, "anna", u64::try_from(no).unwrap());
        keeper.all().insert(Entry { task, chunks: 1, bytes, is_known: true, over_ms: None });
    }
    let page = |behind: Option<String>| {
        let wanted = json!({ "pageSize": 100, "pageToken": behind.unwrap_or_default() });
        let wanted = serde_json::from_value::<List>(wanted).unwrap().check().unwrap();
        let (found, total, next) = keeper.list(&wanted, "anna", "ask", 1);
        (found.iter().map(|task| task.changed_ms()).collect::<Vec<_>>(), total, next)
    };
    let (first, total, next) = page(None);
    assert_eq!((first, total), (vec![4, 3], 4));
    let (second, _, next) = page(next);
    assert_eq!(second, [2]);
    assert_eq!(page(next), (vec![1], 4, None));
    agent.shutdown().await.unwrap();
}

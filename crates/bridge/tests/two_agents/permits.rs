//! What permits let agents do with a service (contracts/permit.md).

use nuncio::{NewPermit, Permit, Scope, ServiceName};

use super::*;

fn for_(holder: AgentId, scope: &str, life: Duration, further: u8) -> NewPermit {
    NewPermit { holder, scope: Scope::parse(scope).unwrap(), life: Some(life), further }
}

const DAY: Duration = Duration::from_secs(86_400);

impl Two {
    async fn give(&self, scope: &str, life: Duration, further: u8) -> Permit {
        self.give_for("files", scope, life, further).await
    }

    async fn give_for(&self, service: &str, scope: &str, life: Duration, further: u8) -> Permit {
        let (service, holder): (ServiceName, _) = (service.parse().unwrap(), self.near.agent.id());
        self.far.agent.give_permit(service, for_(holder, scope, life, further)).await.unwrap()
    }

    /// A third agent, which the serving one has added.
    async fn guest(&self) -> End {
        let guest = End::open(&self.dir.path().join("guest")).await;
        guest.agent.add_peer(&self.far.agent.invitation().await.unwrap(), Some("far")).await.unwrap();
        self.far.agent.add_peer(&guest.agent.invitation().await.unwrap(), Some("guest")).await.unwrap();
        guest
    }

    async fn stop_all(self) {
        self.near.stop().await;
        self.far.stop().await;
    }
}

/// Asks a tool, each time in a request that stands alone: what it says, or what would have been needed.
async fn ask(from: &End, two: &Two, tool: &str) -> Result<Value, Value> {
    let line = from.bridge.line(two.far.agent.id(), "files".parse().unwrap());
    let mut heard = line.listen(None, None).await.unwrap();
    let (asked, message) = (Agent::new_letter_id().unwrap(), Message::json(call(1, tool, json!("x")).to_string()));
    let say =
        Say { id: asked, what: What::Request, session: None, reply_to: None, message, note: Vec::new(), under: None };
    within(line.say(say)).await.unwrap();
    let (_, answer) = answer(&line, &mut heard, asked).await;
    match answer["error"]["code"].as_i64() {
        None => Ok(answer["result"].clone()),
        Some(-32040) => Err(answer["error"]["data"]["nuncio"]["needs"].clone()),
        Some(_) => panic!("{answer}"),
    }
}

fn denied(needs: &str) -> Result<Value, Value> {
    Err(json!(needs))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permit_allows_what_it_says_until_it_is_revoked() {
    let two = Two::new(&[]).await;
    assert_eq!(ask(&two.near, &two, "echo").await, denied("tools.write"));
    let permit = two.give("tools.write:echo", DAY, 0).await;
    assert_eq!(ask(&two.near, &two, "echo").await, Ok(json!("x")));
    assert_eq!(ask(&two.near, &two, "seen").await, denied("tools.write"), "it says echo");
    let two = two.restart_far().await;
    assert_eq!(ask(&two.near, &two, "echo").await, Ok(json!("x")));
    two.far.agent.revoke_permit(permit.id()).await.unwrap();
    assert_eq!(ask(&two.near, &two, "echo").await, denied("tools.write"));
    // Its holder has it still, and shows it: it counts no more, also after a start.
    two.near.agent.keep_permit(permit).await.unwrap();
    assert_eq!(ask(&two.near, &two, "echo").await, denied("tools.write"));
    let two = two.restart_far().await;
    assert_eq!(ask(&two.near, &two, "echo").await, denied("tools.write"));
    two.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permit_is_of_use_to_nobody_else_for_nothing_else_and_for_its_time() {
    let two = Two::new(&[]).await;
    let guest = two.guest().await;
    let permit = two.give("tools.write", Duration::from_secs(20), 0).await;
    let begun = std::time::Instant::now();
    assert_eq!(ask(&two.near, &two, "echo").await, Ok(json!("x")));
    assert_eq!(ask(&guest, &two, "echo").await, denied("tools.write"), "another peer");
    assert!(guest.agent.keep_permit(permit.clone()).await.is_err());
    tokio::time::sleep(Duration::from_secs(20).saturating_sub(begun.elapsed())).await;
    assert_eq!(ask(&two.near, &two, "echo").await, denied("tools.write"), "its time is over");
    two.give_for("mail", "tools.write", DAY, 0).await;
    assert_eq!(ask(&two.near, &two, "echo").await, denied("tools.write"), "for another service");
    guest.stop().await;
    two.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_handed_on_counts_where_it_was_given_and_falls_with_what_it_stands_on() {
    let two = Two::new(&[]).await;
    let guest = two.guest().await;
    let given = two.give("tools.write:echo tools.write:seen", DAY, 1).await;
    two.near.agent.keep_permit(given.clone()).await.unwrap();
    let narrow = |scope: &str, further| for_(guest.agent.id(), scope, Duration::from_secs(3_600), further);
    for wide in [narrow("tools.write", 0), narrow("tools.write:echo", 1)] {
        assert!(two.near.agent.narrow_permit(given.id(), wide).await.is_err());
    }
    let hour = two.near.agent.narrow_permit(given.id(), narrow("tools.write:echo", 0)).await.unwrap();
    assert_eq!(ask(&guest, &two, "echo").await, denied("tools.write"), "it was not shown");
    guest.agent.keep_permit(hour.clone()).await.unwrap();
    assert_eq!(ask(&guest, &two, "echo").await, Ok(json!("x")));
    assert_eq!(ask(&guest, &two, "seen").await, denied("tools.write"), "it was narrowed");
    // Who has handed it on takes it back.
    two.near.agent.revoke_permit(hour.id()).await.unwrap();
    assert!(ask(&two.near, &two, "seen").await.is_ok(), "behind it in one session, and its own stays");
    assert_eq!(ask(&guest, &two, "echo").await, denied("tools.write"));
    // Another, and the giver takes all.
    let again = two.near.agent.narrow_permit(given.id(), narrow("tools.write:seen", 0)).await.unwrap();
    guest.agent.keep_permit(again).await.unwrap();
    assert!(ask(&guest, &two, "seen").await.is_ok());
    two.far.agent.revoke_permit(given.id()).await.unwrap();
    assert_eq!(ask(&guest, &two, "seen").await, denied("tools.write"));
    assert_eq!(ask(&two.near, &two, "seen").await, denied("tools.write"));
    guest.stop().await;
    two.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permit_goes_with_its_service() {
    let two = Two::new(&[]).await;
    let guest = two.guest().await;
    let given = two.give("tools.write", DAY, 1).await;
    two.near.agent.keep_permit(given.clone()).await.unwrap();
    let hour = for_(guest.agent.id(), "tools.write", Duration::from_secs(3_600), 0);
    let hour = two.near.agent.narrow_permit(given.id(), hour).await.unwrap();
    guest.agent.keep_permit(hour.clone()).await.unwrap();
    assert_eq!(ask(&guest, &two, "echo").await, Ok(json!("x")));
    two.far.bridge.reload().await.unwrap();
    let two = two.restart_far().await;
    assert_eq!(two.far.agent.permits().await.unwrap().len(), 2, "it is offered");
    // A home that was restored without the file withdraws nothing.
    let (home, files): (_, ServiceName) = (two.dir.path().join("far"), "files".parse().unwrap());
    let text = std::fs::read_to_string(home.join("services.toml")).unwrap();
    std::fs::remove_file(home.join("services.toml")).unwrap();
    let two = two.restart_far().await;
    std::fs::write(home.join("services.toml"), &text).unwrap();
    two.far.bridge.reload().await.unwrap();
    assert_eq!(two.far.agent.permits().await.unwrap().len(), 2);
    // Where it listens now.
    guest.agent.add_peer(&two.far.agent.invitation().await.unwrap(), Some("far")).await.unwrap();
    assert_eq!(ask(&guest, &two, "echo").await, Ok(json!("x")));
    // Withdrawn, and another is offered under its name.
    nuncio_bridge::withdraw(&home, &files).unwrap();
    two.far.bridge.reload().await.unwrap();
    std::fs::write(home.join("services.toml"), &text).unwrap();
    two.far.bridge.reload().await.unwrap();
    let again = async |two: &Two| {
        two.near.agent.keep_permit(given.clone()).await.unwrap();
        guest.agent.keep_permit(hour.clone()).await.unwrap();
        assert_eq!(ask(&two.near, two, "echo").await, denied("tools.write"));
        assert_eq!(ask(&guest, two, "echo").await, denied("tools.write"));
    };
    again(&two).await;
    // The same where the file went.
    let given = two.give("tools.write", DAY, 0).await;
    assert_eq!(ask(&two.near, &two, "echo").await, Ok(json!("x")));
    std::fs::remove_file(home.join("services.toml")).unwrap();
    two.far.bridge.reload().await.unwrap();
    std::fs::write(home.join("services.toml"), &text).unwrap();
    two.far.bridge.reload().await.unwrap();
    two.near.agent.keep_permit(given).await.unwrap();
    assert_eq!(ask(&two.near, &two, "echo").await, denied("tools.write"));
    // The same where the agent did not see it go, but was told before another came.
    let given = two.give("tools.write", DAY, 0).await;
    assert_eq!(ask(&two.near, &two, "echo").await, Ok(json!("x")));
    nuncio_bridge::withdraw(&home, &files).unwrap();
    nuncio_bridge::forget_withdrawn(&two.far.agent, &home).await.unwrap();
    std::fs::write(home.join("services.toml"), &text).unwrap();
    two.near.agent.keep_permit(given).await.unwrap();
    assert_eq!(ask(&two.near, &two, "echo").await, denied("tools.write"));
    guest.stop().await;
    two.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_peer_has_lost_what_it_was_given() {
    let two = Two::new(&[]).await;
    two.give("tools.write", DAY, 0).await;
    assert_eq!(ask(&two.near, &two, "echo").await, Ok(json!("x")));
    two.far.agent.remove_peer(two.near.agent.id()).await.unwrap();
    two.acquaint().await;
    assert_eq!(ask(&two.near, &two, "echo").await, denied("tools.write"));
    two.stop_all().await;
}

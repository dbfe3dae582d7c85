//! Replacement and renewal: only narrower, never longer, never in a circle.

use data_encoding::BASE64URL_NOPAD;
use nuncio_proto::token::hash_of;
use serde_json::json;

use super::support::{
    BOOKING, Fixture, GATEWAY, PAYMENT, PLANNER, Params, access_token, agent, assertion, body, check, jkt, name, now_s,
    policy, write_policy,
};

/// contracts/txts.md N19.
#[tokio::test]
async fn a_token_goes_from_hand_to_hand_and_what_is_fixed_stays() {
    let at = Fixture::new().await;
    let began = Params::begin()
        .with("request_details", r#"{"trip":"4711"}"#)
        .with("request_context", r#"{"req_ip":"192.0.2.7"}"#);
    let first = at.token(GATEWAY, began.with("resource", &agent(PLANNER).to_string())).await;
    let more = Params::replace(&first, BOOKING).with("request_details", r#"{"amount":"90"}"#);
    let second =
        at.token(PLANNER, more.with("request_context", r#"{"req_ip":"evil"}"#).set("scope", "travel.pay")).await;
    assert!(check(&at.open(&second).await, PLANNER, BOOKING, b"").is_ok());

    let (was, is) = (body(&first), body(&second));
    for fixed in ["txn", "sub", "aud", "act", "agentic_ctx", "rctx", "txn_exp"] {
        assert_eq!(was[fixed], is[fixed], "{fixed}");
    }
    assert_ne!(was["jti"], is["jti"]);
    assert_eq!(is["tctx"], json!({ "trip": "4711", "amount": "90" }));
    assert_eq!((&is["req_wl"], &is["req_wl_chain"]), (&json!("gateway,planner"), &json!(["gateway", "planner"])));
    assert_eq!(is["cnf"], json!({ "jkt": jkt(PLANNER).to_string() }));
    let prev = BASE64URL_NOPAD.encode(&hash_of(first.as_bytes()));
    assert_eq!(is["hop"], json!({ "n": 1, "max": 6, "to": agent(BOOKING).to_string(), "prev": prev }));
    assert_eq!(is["scope"], "travel.pay");
}

#[tokio::test]
async fn scope_never_widens_and_details_never_change() {
    let at = Fixture::new().await;
    let began = Params::begin().with("request_details", r#"{"trip":"4711"}"#).set("scope", "travel.pay");
    let first = at.token(GATEWAY, began.with("resource", &agent(PLANNER).to_string())).await;
    let next = || Params::replace(&first, BOOKING).set("scope", "travel.pay");
    let wide = at.ask(PLANNER, next().set("scope", "travel.book travel.pay")).await;
    assert_eq!(wide.error(), (400, "invalid_scope"));
    let changed = at.ask(PLANNER, next().with("request_details", r#"{"trip":"4712"}"#)).await;
    assert_eq!(changed.error(), (400, "invalid_request"));
    let same = at.ask(PLANNER, next().with("request_details", r#"{"trip":"4711"}"#)).await;
    assert_eq!(same.status, 200);
}

/// contracts/txts.md N19: whoever finds a token cannot hand it on.
#[tokio::test]
async fn only_the_receiver_hands_a_token_on() {
    let at = Fixture::new().await;
    let token = at.handed(&[GATEWAY, PLANNER, BOOKING]).await;
    for (other, next) in [(GATEWAY, PLANNER), (PLANNER, GATEWAY), (PAYMENT, GATEWAY)] {
        let answer = at.ask(other, Params::replace(&token, next)).await;
        assert_eq!(answer.error(), (400, "invalid_grant"), "{}", name(other));
    }
    // Whom nothing else would stop: not in the chain, deep enough, free to write to anybody.
    let found = at.handed(&[GATEWAY, PLANNER]).await;
    let elsewhere = Params::exchange("txn_token", &found).with("resource", &agent(8).to_string());
    assert_eq!(at.ask(PAYMENT, elsewhere).await.error(), (400, "invalid_grant"));
    assert_eq!(at.ask(BOOKING, Params::renew(&token)).await.error(), (400, "invalid_request"), "for whom?");
    assert_eq!(at.ask(BOOKING, Params::replace(&token, PAYMENT)).await.status, 200);
}

/// contracts/txts.md N20.
#[tokio::test]
async fn nobody_comes_twice_in_a_transaction() {
    let at = Fixture::new().await;
    let token = at.handed(&[GATEWAY, PLANNER, BOOKING]).await;
    assert_eq!(body(&token)["req_wl_chain"], json!(["gateway", "gateway", "planner"]));
    for back in [GATEWAY, PLANNER, BOOKING] {
        let answer = at.ask(BOOKING, Params::replace(&token, back)).await;
        assert_eq!(answer.error(), (400, "invalid_grant"), "to {}", name(back));
    }
    // Whoever has the name of one in the chain is that one, whatever key it has.
    let (one, other) = ("name = \"gateway\"", "name = \"booking\"");
    let swapped = policy().replace(one, "name = \"?\"").replace(other, one).replace("name = \"?\"", other);
    write_policy(at.folder.path(), &swapped);
    at.node().reload().await.unwrap();
    let as_gateway = assertion(BOOKING, &json!({ "iss": "gateway", "sub": "gateway" }));
    let answer = at.post("/token", &Params::replace(&token, PAYMENT).with_assertion(&as_gateway)).await;
    assert_eq!(answer.error(), (400, "invalid_grant"), "{}", answer.json);
}

/// contracts/txts.md N20: the depth that the first request fixed, the grant's, and the domain's.
#[tokio::test]
async fn a_chain_ends_at_its_last_hop() {
    let at = Fixture::new().await;
    let token = at.token(GATEWAY, Params::begin().with("hops_max", "1")).await;
    let token = at.token(GATEWAY, Params::replace(&token, PLANNER)).await;
    let answer = at.ask(PLANNER, Params::replace(&token, BOOKING)).await;
    assert_eq!(answer.error(), (400, "invalid_grant"));

    let narrowed = at.handed(&[GATEWAY, PLANNER]).await;
    let narrowed = at.token(PLANNER, Params::replace(&narrowed, BOOKING).with("hops_max", "2")).await;
    assert_eq!(body(&narrowed)["hop"]["max"], 2);
    assert_eq!(at.ask(BOOKING, Params::replace(&narrowed, PAYMENT)).await.error(), (400, "invalid_grant"));

    // The payment's own grant goes two hops deep: it cannot hand on what came by three.
    let deep = at.handed(&[GATEWAY, PLANNER, BOOKING, PAYMENT]).await;
    let answer = at.ask(PAYMENT, Params::exchange("txn_token", &deep).with("resource", &agent(8).to_string())).await;
    assert_eq!(answer.error(), (400, "invalid_grant"));
}

/// contracts/txts.md N21.
#[tokio::test]
async fn a_holder_renews_its_token_for_the_same_hop_and_nobody_else_does() {
    let at = Fixture::new().await;
    let token = at.handed(&[GATEWAY, PLANNER, BOOKING]).await;
    for form in [Params::renew(&token), Params::replace(&token, BOOKING)] {
        let renewed = at.token(PLANNER, form).await;
        assert!(check(&at.open(&renewed).await, PLANNER, BOOKING, b"").is_ok());
        let (was, is) = (body(&token), body(&renewed));
        for fixed in ["txn", "sub", "act", "rctx", "req_wl_chain", "cnf", "hop", "txn_exp"] {
            assert_eq!(was[fixed], is[fixed], "{fixed}");
        }
        assert_ne!(was["jti"], is["jti"]);
    }
    assert_eq!(at.ask(GATEWAY, Params::renew(&token)).await.error(), (400, "invalid_grant"));
    assert_eq!(at.ask(PLANNER, Params::replace(&token, PAYMENT)).await.error(), (400, "invalid_grant"), "another hop");
}

/// contracts/txts.md N19: the transaction may go on, the token is over.
#[tokio::test]
async fn an_expired_token_is_replaced_by_nothing_although_its_transaction_lasts() {
    let at = Fixture::with(&policy().replace("[service]", "[service]\ntoken_life_s = 1")).await;
    let first = at.begun().await;
    until(body(&first)["exp"].as_u64().unwrap()).await;
    assert_eq!(at.ask(GATEWAY, Params::replace(&first, PLANNER)).await.error(), (400, "invalid_grant"));
    assert_eq!(at.ask(GATEWAY, Params::renew(&first)).await.error(), (400, "invalid_grant"));
}

/// contracts/txts.md N18: whatever is renewed or replaced, the end of the transaction stays.
#[tokio::test]
async fn no_token_outlives_its_transaction_and_none_is_had_of_an_expired_one() {
    let living = async |life_s: u64| {
        let life = format!("transaction_life_s = {life_s}");
        Fixture::with(&policy().replace("transaction_life_s = 3600", &life)).await
    };
    let at = living(60).await;
    let first = at.begun().await;
    let (iat, end) = (body(&first)["iat"].as_u64().unwrap(), body(&first)["txn_exp"].as_u64().unwrap());
    assert_eq!((&body(&first)["exp"], end), (&json!(end), iat + 60));
    until(iat + 1).await;
    for later in [Params::replace(&first, PLANNER), Params::renew(&first)] {
        let later = body(&at.token(GATEWAY, later).await);
        assert!(later["iat"].as_u64().unwrap() > iat);
        assert_eq!((&later["exp"], &later["txn_exp"]), (&json!(end), &json!(end)));
    }

    let at = living(1).await;
    let first = at.begun().await;
    until(body(&first)["txn_exp"].as_u64().unwrap()).await;
    assert_eq!(at.ask(GATEWAY, Params::replace(&first, PLANNER)).await.error(), (400, "invalid_grant"));
    assert_eq!(at.ask(GATEWAY, Params::renew(&first)).await.error(), (400, "invalid_grant"));
    let fresh = Params::exchange("access_token", &access_token(&json!({})));
    assert_eq!(at.ask(GATEWAY, fresh).await.status, 200, "a new transaction begins");
}

async fn until(second: u64) {
    while now_s() < second {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// contracts/txts.md N8, N14, N19, N21: a channel is a receiver that grants name by its id; its token is renewed by its holder, and replaced by nobody.
#[tokio::test]
async fn what_is_for_a_channel_nobody_replaces() {
    let (channel, other) = ("07".repeat(32), "08".repeat(32));
    let to = format!("receivers = [\"planner\", \"{channel}\"]");
    let at = Fixture::with(&policy().replacen("receivers = [\"planner\"]", &to, 1)).await;
    let first = at.token(GATEWAY, Params::begin()).await;
    let elsewhere = Params::exchange("txn_token", &first).with("resource", &other);
    assert_eq!(at.ask(GATEWAY, elsewhere).await.error(), (400, "invalid_target"));
    let token = at.token(GATEWAY, Params::exchange("txn_token", &first).with("resource", &channel)).await;
    assert_eq!((&body(&token)["hop"]["to"], &body(&token)["hop"]["n"]), (&json!(channel), &json!(1)));
    assert_eq!(body(&at.token(GATEWAY, Params::renew(&token)).await)["hop"]["to"], json!(channel));
    let same = Params::exchange("txn_token", &token).with("resource", &channel);
    assert_eq!(at.ask(GATEWAY, same.clone()).await.status, 200, "renewed by its holder");
    // Whoever may be a member: neither to an agent nor to the channel, nor as its own.
    for member in [PLANNER, BOOKING, PAYMENT] {
        for next in [agent(8).to_string(), channel.clone(), agent(member).to_string()] {
            let answer = at.ask(member, Params::exchange("txn_token", &token).with("resource", &next)).await;
            assert_eq!(answer.error(), (400, "invalid_grant"), "{} to {next}", name(member));
        }
    }
    for none in ["07".repeat(31), "0A".repeat(32), channel.to_uppercase() + "g"] {
        let answer = at.ask(GATEWAY, Params::exchange("txn_token", &first).with("resource", &none)).await;
        assert_eq!(answer.error(), (400, "invalid_target"), "{none}");
    }
}

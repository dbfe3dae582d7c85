//! What a peer's name stands for in a home's files: told where it is given or taken away.

use std::path::Path;

use nuncio_bridge::{ServiceTold, gateway_routes_to, services};

use crate::failure::Failure;
use crate::output;

/// What `services.toml` says of each service. A file that cannot be read lets nobody in, and is no reason not to give a name.
pub(super) fn said(home: &Path) -> Vec<ServiceTold> {
    services(home).unwrap_or_default()
}

/// What is said already of whoever has a name: it counts from now on.
pub(super) fn say_what_may(home: &Path, name: &str) {
    let told = said(home);
    let may = told.iter().filter_map(|told| Some(format!("{}: {}", told.name, told.peers.get(name)?.join(" "))));
    let may: Vec<String> = may.collect();
    if !may.is_empty() {
        output::note(format_args!("services.toml says what {name} may: {}", may.join("; ")));
    }
    let routes = gateway_routes_to(home, name);
    if !routes.is_empty() {
        output::note(format_args!("gateway.toml names {name}: people reach this one by {}", routes.join(", ")));
    }
}

/// What became of that which was said of a peer's former name.
pub(super) fn say_renamed(home: &Path, before: &[ServiceTold], former: &str, name: &str) {
    let had: Vec<&ServiceTold> = before.iter().filter(|told| told.peers.contains_key(former)).collect();
    let too = if had.is_empty() { "" } else { ", in services.toml too" };
    output::note(format_args!("it was known as {former} and is {name} now{too}"));
    let stood = had.iter().filter(|told| told.peers.contains_key(name)).map(|told| told.name.as_str());
    let stood: Vec<&str> = stood.collect();
    if !stood.is_empty() {
        output::note(format_args!(
            "what was said of {name} before stands, and what was said of {former} is gone: {}",
            stood.join(", ")
        ));
    }
    say_who_is_missed(home, former);
}

/// What a removed peer lost.
///
/// # Errors
/// The file cannot be read.
pub(super) fn say_removed(home: &Path, before: &[ServiceTold], name: Option<&str>) -> Result<(), Failure> {
    let after = services(home)?;
    let lost = |was: &&ServiceTold| after.iter().any(|now| now.name == was.name && now.peers.len() < was.peers.len());
    let lost: Vec<&str> = before.iter().filter(lost).map(|was| was.name.as_str()).collect();
    if !lost.is_empty() {
        output::note(format_args!("services.toml says nothing of it any more: it was named for {}", lost.join(", ")));
    }
    name.into_iter().for_each(|name| say_who_is_missed(home, name));
    Ok(())
}

/// What people reach by a name that nobody has now.
fn say_who_is_missed(home: &Path, name: &str) {
    let routes = gateway_routes_to(home, name);
    if !routes.is_empty() {
        output::note(format_args!(
            "gateway.toml still names {name}: people reach nobody by {}, and whoever is called {name} next",
            routes.join(", ")
        ));
    }
}

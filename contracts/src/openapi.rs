//! The OpenAPI documents of this folder, and which operations each has: what is served is held against them.

/// The local API of an agent.
pub const LOCAL: &str = include_str!("../openapi/local.yaml");
/// The gateway.
pub const GATEWAY: &str = include_str!("../openapi/gateway.yaml");
/// A node.
pub const NODE: &str = include_str!("../openapi/node.yaml");

/// One method of one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Operation<'a> {
    /// With its parameters in braces.
    pub path: &'a str,
    /// In small letters.
    pub method: &'a str,
    /// What its caller needs (`x-needs`), where the document says so.
    pub needs: Option<&'a str>,
}

/// The operations of one of these documents: paths stand two spaces in, methods four, `x-needs` six.
pub fn operations(document: &str) -> impl Iterator<Item = Operation<'_>> {
    let paths = document.split_once("\npaths:\n").and_then(|(_, rest)| rest.split_once("\ncomponents:\n"));
    let mut lines = paths.map_or("", |(paths, _)| paths).lines();
    let mut path = "";
    core::iter::from_fn(move || {
        loop {
            let line = lines.next()?;
            let Some(name) = line.strip_suffix(':').map(str::trim_start) else { continue };
            match indent(line) {
                2 => path = name,
                4 if name != "parameters" => {
                    let mut of_this = lines.clone().take_while(|line| line.is_empty() || indent(line) > 4);
                    let needs = of_this.find_map(|line| line.strip_prefix("      x-needs: "));
                    return Some(Operation { path, method: name, needs });
                }
                _ => {}
            }
        }
    })
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

#[cfg(test)]
mod tests {
    extern crate alloc;

    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn an_operation_has_its_path_and_what_it_needs() {
        let document = "openapi: 3.1.0\npaths:\n  /a/{id}:\n    parameters:\n      - { name: id }\n    get:\n      summary: A:\n\n      x-needs: owner\n\
             \n    post:\n      summary: B\n  /b:\n    get:\n      x-needs: client\n\ncomponents:\n  schemas:\n    get:\n";
        let read: Vec<_> = operations(document).map(|one| (one.path, one.method, one.needs)).collect();
        assert_eq!(read, [("/a/{id}", "get", Some("owner")), ("/a/{id}", "post", None), ("/b", "get", Some("client"))]);
        assert!([LOCAL, GATEWAY, NODE].iter().all(|document| operations(document).count() > 3));
    }
}

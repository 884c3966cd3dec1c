"""Metadata of rows, such as weights and groups: who asks a cross-validated classifier for which."""

from __future__ import annotations

from typing import Any, NamedTuple

from sklearn import get_config
from sklearn.utils.metadata_routing import (
    UNUSED,
    MetadataRequest,
    MetadataRouter,
    MethodMapping,
    process_routing,
)

from softreg._selection.scoring.scorers import check_scoring


class Metadata(NamedTuple):
    """The values of rows, by name, that the splitter asks for, and that the scorer asks for."""

    splitter: dict[str, Any]
    scorer: dict[str, Any]


def requested_metadata(
    estimator: Any, method: str, given: dict[str, Any], params: dict[str, Any]
) -> Metadata:
    """Return what the estimator's `cv` and `scoring` ask for of what `method` was given.

    `given` are the arguments that it has by name, `params` the others; TypeError if there is no use
    for one of these.
    """
    weights = {"sample_weight": given["sample_weight"]}
    if not get_config()["enable_metadata_routing"]:
        if params:
            raise TypeError(
                f"{type(estimator).__name__}.{method} got {sorted(params)}, which it passes on to "
                "`scoring` or `cv` with sklearn.set_config(enable_metadata_routing=True) only."
            )
        return Metadata({"groups": given.get("groups")}, weights)
    passed = {name: values for name, values in given.items() if values is not None}
    routed = process_routing(estimator, method, **passed, **params)
    of_splitter, of_scorer = (routed.get(name, {}) for name in ("splitter", "scorer"))
    of_scorer = (
        weights if isinstance(check_scoring(estimator.scoring), str) else of_scorer.get("score", {})
    )
    return Metadata(of_splitter.get("split", {}), of_scorer)


def router_of(estimator: Any, requests: MetadataRequest) -> MetadataRouter:
    """Return who gets which metadata: the estimator, what it `requests`, its `cv` and `scoring`."""
    if requests.fit.requests.get("groups") is None:  # the splitter says whether it wants them
        requests.fit.add_request(param="groups", alias=UNUSED)
    router = MetadataRouter(owner=estimator).add(
        splitter=estimator.cv, method_mapping=MethodMapping().add(caller="fit", callee="split")
    )
    if not isinstance(check_scoring(estimator.scoring), str):  # names count the weights
        requests.score.add_request(param="sample_weight", alias=UNUSED)
        calls = MethodMapping().add(caller="fit", callee="score")
        calls = calls.add(caller="score", callee="score")
        router.add(scorer=estimator.scoring, method_mapping=calls)
    return router.add_self_request(requests)

"""Run `ray start` for a cluster on the loopback address alone: python -m orchestra.hosts.ray_loopback start ...

Ray takes another address of the machine when it is given 127.0.0.1, and then listens on every interface. A variable
turns that off for the head and for runs, but not for a node that joins.
"""


def main() -> None:
    import ray._private.services
    from ray.scripts.scripts import main as run_ray

    ray._private.services.resolve_ip_for_localhost = lambda host: host
    run_ray()


if __name__ == "__main__":
    main()

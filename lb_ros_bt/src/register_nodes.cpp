// What makes the library a plugin of BehaviorTree.CPP, and so of nav2.
#include "behaviortree_cpp/bt_factory.h"

#include "lb_ros_bt/predicate_condition.hpp"
#include "lb_ros_bt/wait_for_predicate.hpp"

BT_REGISTER_NODES(factory)
{
  factory.registerNodeType<lb_ros_bt::PredicateCondition>("PredicateCondition");
  factory.registerNodeType<lb_ros_bt::WaitForPredicate>("WaitForPredicate");
}
